// Times as people write and read them.
//
// Threads: free functions.
// Units:   seconds since 1970, and nanoseconds; local time where no zone is written.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "store/base/result.h"

namespace varve {

// "2026-03-01 14:05:09", in local time.
std::string FormatTime(const struct timespec& time);
// "2026-03-01T13:05:09.123456789Z", for JSON.
std::string FormatTimeUtc(const struct timespec& time);

// "2026-03-01", "2026-03-01 14:05", "2026-03-01T14:05:09", with "Z" at the end for UTC;
// "@1772372709" for seconds since 1970; "14:05" for today; "90s ago", "10 min ago",
// "2h ago", "3 days ago". What says no seconds means the end of that minute, and a
// date alone the end of that day, because it is used as "not later than".
// Fails with kInvalid and a sentence.
Result<struct timespec> ParseTime(std::string_view text, const struct timespec& now);

}  // namespace varve
