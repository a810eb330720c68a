#pragma once

#include <stddef.h>
#include <stdint.h>

/* The part of RE2 that LinearRegex needs, as C. No function throws; all take UTF-8. */

#ifdef __cplusplus
#define CRE2_NOEXCEPT noexcept
extern "C" {
#else
#define CRE2_NOEXCEPT
#endif

/* A compiled pattern. Matching leaves it unchanged and is safe from any number of threads. */
typedef struct cre2_regex cre2_regex;

/*
 * Compiles `length` bytes of `pattern`; NULL where that fails, with the reason in `message`
 * (zero-terminated, cut at `message_size`). `memory_max` bounds the programs and state caches, in bytes.
 * With `dot_matches_line_end` `.` matches line ends.
 */
cre2_regex *_Nullable cre2_new(const uint8_t *_Nullable pattern, size_t length, int dot_matches_line_end,
                               int64_t memory_max, char *_Nonnull message, size_t message_size) CRE2_NOEXCEPT;

void cre2_delete(cre2_regex *_Nullable regex) CRE2_NOEXCEPT;

/* The number of capture groups, the whole match not counted. */
int cre2_group_count(const cre2_regex *_Nonnull regex) CRE2_NOEXCEPT;

/* The name of group `index` (from 1), NULL where it has none. To be given to cre2_free_name. */
char *_Nullable cre2_group_name(const cre2_regex *_Nonnull regex, int index) CRE2_NOEXCEPT;
void cre2_free_name(char *_Nullable name) CRE2_NOEXCEPT;

/*
 * Whether `text` matches at or after `start`; `anchored` wants the match to span `start` to the end.
 * `groups` takes `group_count` pairs of begin and end offsets, -1 for a group that took no part; it may be NULL.
 */
int cre2_match(const cre2_regex *_Nonnull regex, const uint8_t *_Nullable text, size_t length,
               size_t start, int anchored, ptrdiff_t *_Nullable groups, size_t group_count) CRE2_NOEXCEPT;

#ifdef __cplusplus
}
#endif
