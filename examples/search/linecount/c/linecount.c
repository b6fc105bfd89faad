#include <stddef.h>
#include <string.h>

/* How many lines `size` bytes hold; a last line without its newline counts. */
size_t linecount(const char *text, size_t size) {
    size_t lines = 0;
    const char *end = text + size;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        lines++;
        text = newline ? newline + 1 : end;
    }
    return lines;
}
