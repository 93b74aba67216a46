#!/usr/bin/env python3
"""Writes the man page and the shell completions of a podwire: manual.py PROGRAM FOLDER

The program describes its commands and options, so nothing is said twice. Below FOLDER the files have the
places that they have below /usr/share. The page's date is SOURCE_DATE_EPOCH, so that one commit gives
the same bytes everywhere.
"""
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMANDS = ROOT / "Sources/podwire/podwire.docc/Commands.md"
COMPLETIONS = {"bash": "bash-completion/completions/podwire", "zsh": "zsh/site-functions/_podwire",
               "fish": "fish/vendor_completions.d/podwire.fish"}
VARIABLE = re.compile(r"\b(PODWIRE_[A-Z_]+|(?<=\()[A-Z][A-Z_]+(?=[,)]))")


def escaped(text):
    """Text that roff prints as it is."""
    text = text.replace("\\", r"\e").replace("`", "'")
    return text.replace("-", r"\-").replace("'", r"\(aq").replace('"', r"\(dq")


def prose(text):
    """Lines of running text: a sentence begins on a line of its own, as mdoc(7) wants it."""
    lines = []
    for sentence in re.split(r"(?<=[.:;?!]) +(?=[A-Z0-9-])", " ".join(text.split())):
        for line in textwrap.wrap(sentence, 72, break_long_words=False, break_on_hyphens=False):
            line = escaped(line)
            lines.append(rf"\&{line}" if line[:1] in (".", "\\") else line)
    return lines


def discussion(text):
    """Paragraphs as text, and what is indented as it stands there."""
    lines = []
    for paragraph in text.split("\n\n"):
        if not paragraph.startswith("  "):
            lines += [".Pp", *prose(paragraph)]
            continue
        examples = textwrap.dedent(paragraph).splitlines()
        lines += [".Bd -literal -offset indent", *(rf"\&{escaped(line)}" for line in examples), ".Ed"]
    return lines


def is_shown(argument):
    names = {name["name"] for name in argument.get("names", [])}
    return argument.get("shouldDisplay", True) and not names & {"help", "version"}


def arguments(command):
    return [argument for argument in command.get("arguments", []) if is_shown(argument)]


def flags(argument):
    """An option with its value, or an argument, as a list's item has it."""
    value = escaped(argument.get("valueName", "").upper())
    if argument["kind"] == "positional":
        return f"Ar {value}"
    names = [f"Fl {'' if name['kind'] == 'short' else escaped('-')}{escaped(name['name'])}"
             for name in argument["names"]]
    return " , ".join(names) + (f" Ar {value}" if argument["kind"] == "option" else "")


def name_of(argument):
    return argument["preferredName"]["name"]


def options(command, agents):
    """The list of a command's options; those of the agent are only named again."""
    own, shared = [], []
    for argument in arguments(command):
        known = argument["kind"] != "positional" and agents.get(name_of(argument)) == argument.get("abstract")
        (shared if known else own).append(argument)
    lines = []
    if own:
        lines.append(".Bl -tag -width indent")
        for argument in own:
            text = argument.get("abstract", "")
            if default := argument.get("defaultValue"):
                text += f" (default: {default})"
            lines += [f".It {flags(argument)}", *prose(text)]
        lines.append(".El")
    if len(shared) == len(agents):
        lines += [".Pp", "It takes all options of", ".Cm agent", "as well."]
    elif shared:
        lines += [".Pp", "Of the options of", ".Cm agent", "it takes"]
        lines += [f".Fl {escaped('-' + name_of(argument))} ,"
                  for argument in shared[:-1]]
        lines += ["and", f".Fl {escaped('-' + name_of(shared[-1]))} ."]
    return lines


def environment(commands):
    """Each variable, and the options that stand for it."""
    found = {}
    for command in commands:
        for argument in arguments(command):
            for variable in VARIABLE.findall(argument.get("abstract", "")):
                found.setdefault(variable, name_of(argument))
        for variable in VARIABLE.findall(command.get("discussion", "")):
            found.setdefault(variable, None)
    lines = [".Bl -tag -width indent"]
    for variable, option in sorted(found.items()):
        lines.append(f".It Ev {variable}")
        lines += ["See", f".Fl {escaped('-' + option)} ."] if option else ["See above."]
    return [*lines, ".El"]


def exit_codes():
    """The codes that the page about commands lists."""
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", COMMANDS.read_text(), re.MULTILINE)
    lines = [".Bl -tag -width indent"]
    for code, meaning in rows:
        lines += [f".It {code}", *prose(meaning)]
    return [*lines, ".El"]


def page(command, version, date):
    commands = [sub for sub in command["subcommands"]
                if sub["commandName"] != "help" and sub.get("shouldDisplay", True)]
    agents = {name_of(argument): argument.get("abstract") for argument in arguments(commands[0])}
    lines = [
        f".Dd {date:%B} {date.day}, {date.year}", ".Dt PODWIRE 1", f".Os podwire {escaped(version)}",
        ".nh", ".Sh NAME", ".Nm podwire", ".Nd capture pod traffic and hand each packet once to a sensor",
        ".Sh SYNOPSIS"]
    for sub in commands:
        positional = " ".join(f"Op {flags(each)}" for each in arguments(sub) if each["kind"] == "positional")
        lines += [".Nm", f".Cm {sub['commandName']}", ".Op Ar options"]
        lines += [f".{positional}"] if positional else []
    lines += [".Sh DESCRIPTION", *prose(command.get("abstract", "")),
              *discussion(command.get("discussion", "")), ".Sh COMMANDS"]
    for sub in commands:
        lines += [f".Ss {sub['commandName']}", *prose(sub.get("abstract", "")),
                  *discussion(sub.get("discussion", "")), *options(sub, {} if sub is commands[0] else agents)]
    lines += [".Sh ENVIRONMENT", *environment(commands), ".Sh EXIT STATUS", *exit_codes(),
              ".Sh SEE ALSO", ".Xr packet 7 ,", ".Xr tcpdump 8"]
    return "\n".join(lines) + "\n"


def main(program, folder):
    def ask(*words):
        return subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout

    def write(name, text):
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)

    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    date = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    help = json.loads(ask("--experimental-dump-help"))
    write("man/man1/podwire.1", page(help["command"], ask("--version").split()[1], date))
    for shell, name in COMPLETIONS.items():
        write(name, ask("--generate-completion-script", shell))


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
