#include "build.h"

#ifndef PODWIRE_COMMIT
#define PODWIRE_COMMIT ""
#endif

const char *cbuild_commit(void)
{
    return PODWIRE_COMMIT;
}
