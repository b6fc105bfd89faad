#include <stddef.h>
#include <stdint.h>

/* FNV-1a, 64 bits, going on from an earlier hash. */
uint64_t fnv1a(uint64_t hash, const uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    return hash;
}
