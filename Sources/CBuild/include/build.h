/* What the build knows of its sources. */
#ifndef PODWIRE_BUILD_H
#define PODWIRE_BUILD_H

/* The commit, with a plus sign where files differ from it, or an empty text if the build was not told. */
const char *cbuild_commit(void);

#endif
