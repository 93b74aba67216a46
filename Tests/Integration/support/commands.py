"""Commands that a test runs to their end."""

import subprocess

# Far more than any command takes, also on a busy machine and at the lowest priority.
TIMEOUT_SECONDS = 600


def run(*words, check=True, timeout=TIMEOUT_SECONDS, **keywords):
    """Runs a command to its end and returns its exit code, output and errors, as texts."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=timeout, **keywords)
    if check and done.returncode != 0:
        raise AssertionError(
            f"{words} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def output(*words, **keywords):
    """Runs a command to its end and returns its output."""
    return run(*words, **keywords).stdout


def make_certificate(key, certificate, *options, name="podwire"):
    """Writes a key, and a certificate for it that it has signed itself."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", f"/CN={name}", *options, "-keyout", key, "-out", certificate)
