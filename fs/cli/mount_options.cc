#include "fs/cli/mount_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "fs/cli/output.h"

namespace varve {
namespace {

constexpr double kTimeoutSecondsMax = 1e6;  // what is more is a mistake, or nanoseconds

Status AskFor(std::string_view name, std::string_view value, std::string_view needed) {
  return Status(Code::kInvalid, fmt::format("-o {}={}: {}", name, Printable(value), needed));
}

template <typename Number>
bool ParseNumber(std::string_view text, Number* number) {
  const auto end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, *number);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

Status SetHot(std::string_view value, MountRequest* request) {
  const Result<uint64_t> size = ParseSize(value);
  if (!size.ok()) return AskFor("hot", value, size.status().context());
  request->hot_bytes_max = *size;
  return Status();
}

Status SetLog(std::string_view value, MountRequest* request) {
  if (!value.starts_with('/')) return AskFor("log", value, "an absolute path is needed");
  request->log_path = value;
  return Status();
}

Status SetOnFull(std::string_view value, MountRequest* request) {
  if (value != "history" && value != "fail")
    return AskFor("on_full", value, "it is either history or fail");
  request->history_yields = value == "history";
  return Status();
}

Status SetQuiet(std::string_view value, MountRequest* request) {
  if (!ParseNumber(value, &request->quiet_seconds) || request->quiet_seconds > 3600) {
    return AskFor("quiet", value, "a number of seconds up to 3600 is needed");
  }
  return Status();
}

Status SetThreads(std::string_view value, MountRequest* request) {
  unsigned threads = 0;
  if (!ParseNumber(value, &threads) || threads < 1 || threads > 1024) {
    return AskFor("threads", value, "a number from 1 to 1024 is needed");
  }
  request->threads = threads;
  return Status();
}

Status SetTimeout(std::string_view value, MountRequest* request) {
  double seconds = 0;
  if (!ParseNumber(value, &seconds) || !(seconds >= 0) || seconds > kTimeoutSecondsMax) {
    return AskFor("timeout", value, "a number of seconds is needed");
  }
  request->stop_timeout_seconds = seconds;
  return Status();
}

// VarveFS's own options. What is parsed and what --help says come from the same rows.
struct Option {
  std::string_view name;
  std::string_view value;  // what --help calls it, "" for a switch
  std::string_view help;
  Status (*set)(std::string_view value, MountRequest* request);
};
constexpr std::array<Option, 11> kOptions = {{
    {"allow_other", "",
     "other users may use the mount; the permission bits decide what they may do",
     [](std::string_view, MountRequest* request) {
       request->allow_other = true;
       return Status();
     }},
    {"hot", "SIZE", "how much to keep as staging files for fast reads (a tenth of the disk)",
     SetHot},
    {"io_uring", "", "talk to the kernel through io_uring (off by default)",
     [](std::string_view, MountRequest* request) {
       request->store_io_uring = true;
       request->fuse_io_uring = true;
       return Status();
     }},
    {"log", "FILE", "where the daemon logs (STORE/varve.log)", SetLog},
    {"no_io_uring", "", "no io_uring, also not for the store's own files",
     [](std::string_view, MountRequest* request) {
       request->store_io_uring = false;
       request->fuse_io_uring = false;
       return Status();
     }},
    {"no_passthrough", "", "all reads and writes go through the daemon",
     [](std::string_view, MountRequest* request) {
       request->passthrough = false;
       return Status();
     }},
    {"on_full", "WHAT",
     "what yields when little room is left: history, the oldest first, or nothing (fail)",
     SetOnFull},
    {"quiet", "SECONDS", "capture a directory that was not changed for so long (2)", SetQuiet},
    {"supervise", "", "a second process replaces a daemon that died",
     [](std::string_view, MountRequest* request) {
       request->supervise = true;
       return Status();
     }},
    {"threads", "N", "how many threads digest and decode (from the number of cores)", SetThreads},
    {"timeout", "SECONDS", "how long the daemon may store what is pending after SIGTERM (no limit)",
     SetTimeout},
}};

// Those of mount(8) that the kernel is told.
constexpr std::array<std::string_view, 16> kKernelFlags = {
    "ro",         "rw",          "suid",      "nosuid",       "dev",     "nodev",
    "exec",       "noexec",      "async",     "sync",         "dirsync", "noatime",
    "nodiratime", "nosymfollow", "symfollow", "nostrictatime"};
constexpr std::array<std::string_view, 4> kKernelPrefixes = {
    "context=", "fscontext=", "defcontext=", "rootcontext="};

// Not of the mount, but of what is done to it.
constexpr std::string_view kRemount = "remount";

// For mount(8), fstab and systemd, or the only behaviour there is.
constexpr std::array<std::string_view, 20> kIgnored = {
    "defaults", "auto",     "noauto",     "user",        "users",
    "nouser",   "owner",    "group",      "nofail",      "_netdev",
    "atime",    "diratime", "relatime",   "norelatime",  "loud",
    "silent",   "lazytime", "nolazytime", "strictatime", "default_permissions"};
// mount(8) gives back, on a remount, what the kernel shows of a FUSE mount.
constexpr std::array<std::string_view, 11> kIgnoredPrefixes = {
    "x-",       "X-",       "comment=",  "user=",     "fsname=", "subtype=",
    "uhelper=", "user_id=", "group_id=", "max_read=", "blksize="};

template <typename List>
bool Contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

template <typename List>
bool HasPrefixOf(const List& list, std::string_view option) {
  return std::any_of(list.begin(), list.end(),
                     [option](std::string_view prefix) { return option.starts_with(prefix); });
}

// Splits at commas that no backslash precedes, and takes the backslashes away.
std::vector<std::string> SplitOptions(std::string_view list) {
  std::vector<std::string> options(1);
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '\\' && i + 1 < list.size()) {
      options.back() += list[++i];
    } else if (list[i] == ',') {
      options.emplace_back();
    } else {
      options.back() += list[i];
    }
  }
  std::erase(options, "");
  return options;
}

Status AddOption(const std::string& option, bool sloppy, MountRequest* request) {
  const size_t equals = option.find('=');
  const std::string_view name = std::string_view(option).substr(0, equals);
  for (const Option& own : kOptions) {
    if (name != own.name || own.value.empty() != (equals == std::string::npos)) continue;
    return own.set(own.value.empty() ? "" : std::string_view(option).substr(equals + 1), request);
  }
  if (option == kRemount) {
    request->remount = true;
  } else if (Contains(kKernelFlags, option) || HasPrefixOf(kKernelPrefixes, option)) {
    request->mount_flags.push_back(option);
  } else if (!Contains(kIgnored, option) && !HasPrefixOf(kIgnoredPrefixes, option) && !sloppy) {
    return Status(
        Code::kInvalid,
        fmt::format("-o {}: there is no such option; see varve mount --help", Printable(option)));
  }
  return Status();
}

// Names one after the other, in lines that a terminal holds.
template <typename List>
void AppendNames(const List& names, std::string_view value, std::string* line, std::string* out) {
  constexpr size_t kColumns = 80;
  for (const std::string_view name : names) {
    const std::string word = fmt::format(" {}{}", name, value);
    if (line->size() + word.size() >= kColumns) {
      *out += *line + "\n";
      *line = " ";
    }
    *line += word;
  }
}

template <typename Names, typename Prefixes>
std::string Listed(const Names& names, const Prefixes& prefixes) {
  std::string out;
  std::string line = " ";
  AppendNames(names, "", &line, &out);
  AppendNames(prefixes, "...", &line, &out);
  return out + line + "\n";
}

}  // namespace

Status AddMountOptions(std::string_view list, bool sloppy, MountRequest* request) {
  for (const std::string& option : SplitOptions(list)) {
    RETURN_IF_ERROR(AddOption(option, sloppy, request));
  }
  return Status();
}

std::string MountOptionsHelp() {
  std::string out = "Options for -o, separated by commas:\n";
  const auto append = [&out](std::string_view name, std::string_view help) {
    out += fmt::format("  {:<17} {}\n", name, help);
  };
  for (const Option& option : kOptions) {
    append(fmt::format("{}{}{}", option.name, option.value.empty() ? "" : "=", option.value),
           option.help);
  }
  append(kRemount, "change what the kernel forbids by itself, ro or rw for example");
  out += "As in mount(8); users other than root get nosuid,nodev:\n";
  out += Listed(kKernelFlags, kKernelPrefixes);
  out += "Taken and without effect here, for fstab and mount(8):\n";
  out += Listed(kIgnored, kIgnoredPrefixes);
  return out;
}

}  // namespace varve
