#include "CRE2.h"

#include <re2/re2.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace {

const RE2 *asRE2(const cre2_regex *regex) { return reinterpret_cast<const RE2 *>(regex); }

void copyMessage(const std::string &text, char *message, size_t size) {
    if (size == 0) return;
    size_t length = text.size() < size - 1 ? text.size() : size - 1;
    std::memcpy(message, text.data(), length);
    message[length] = 0;
}

}  // namespace

extern "C" cre2_regex *cre2_new(const uint8_t *pattern, size_t length, int dot_matches_line_end,
                                int64_t memory_max, char *message, size_t message_size) noexcept {
    try {
        RE2::Options options;
        options.set_dot_nl(dot_matches_line_end != 0);
        options.set_log_errors(false);
        options.set_longest_match(false);
        options.set_max_mem(memory_max);
        const char *text = length == 0 ? "" : reinterpret_cast<const char *>(pattern);
        RE2 *regex = new RE2(re2::StringPiece(text, length), options);
        if (!regex->ok()) {
            copyMessage(regex->error(), message, message_size);
            delete regex;
            return nullptr;
        }
        return reinterpret_cast<cre2_regex *>(regex);
    } catch (...) {
        copyMessage("out of memory", message, message_size);
        return nullptr;
    }
}

extern "C" void cre2_delete(cre2_regex *regex) noexcept { delete reinterpret_cast<RE2 *>(regex); }

extern "C" int cre2_group_count(const cre2_regex *regex) noexcept {
    return asRE2(regex)->NumberOfCapturingGroups();
}

extern "C" char *cre2_group_name(const cre2_regex *regex, int index) noexcept {
    const auto &names = asRE2(regex)->CapturingGroupNames();
    const auto found = names.find(index);
    return found == names.end() ? nullptr : strdup(found->second.c_str());
}

extern "C" void cre2_free_name(char *name) noexcept { std::free(name); }

extern "C" int cre2_match(const cre2_regex *regex, const uint8_t *text, size_t length, size_t start,
                          int anchored, ptrdiff_t *groups, size_t group_count) noexcept {
    try {
        const char *begin = length == 0 ? "" : reinterpret_cast<const char *>(text);
        const re2::StringPiece subject(begin, length);
        const auto anchor = anchored ? RE2::ANCHOR_BOTH : RE2::UNANCHORED;
        std::vector<re2::StringPiece> found(group_count);
        if (!asRE2(regex)->Match(subject, start, length, anchor,
                                 group_count == 0 ? nullptr : found.data(),
                                 static_cast<int>(group_count))) {
            return 0;
        }
        for (size_t index = 0; groups != nullptr && index < group_count; ++index) {
            const bool took_part = found[index].data() != nullptr;
            groups[2 * index] = took_part ? found[index].data() - begin : -1;
            groups[2 * index + 1] = took_part ? groups[2 * index] + static_cast<ptrdiff_t>(found[index].size()) : -1;
        }
        return 1;
    } catch (...) {
        return 0;
    }
}
