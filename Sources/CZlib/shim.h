#pragma once

/*
 * zlib as Swift sees it. What follows the header stands in for a macro that the Swift importer
 * cannot take.
 */

#include <zlib.h>

/* Prepares to decompress data that has the head and the checksum of gzip (RFC 1952). */
static inline int czlib_begin_gunzip(z_stream *stream)
{
    return inflateInit2(stream, 16 + MAX_WBITS);
}
