#include "fs/cli/mount_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "fs/cli/output.h"

namespace varve {
namespace {

// Passed on to the kernel.
constexpr std::array<std::string_view, 16> kKernelFlags = {
    "ro",         "rw",          "suid",      "nosuid",       "dev",     "nodev",
    "exec",       "noexec",      "async",     "sync",         "dirsync", "noatime",
    "nodiratime", "nosymfollow", "symfollow", "nostrictatime"};

// For mount(8), fstab and systemd, or the only behaviour there is.
constexpr std::array<std::string_view, 21> kIgnored = {
    "defaults", "auto",     "noauto",     "user",        "users",
    "nouser",   "owner",    "group",      "nofail",      "_netdev",
    "atime",    "diratime", "relatime",   "norelatime",  "loud",
    "silent",   "lazytime", "nolazytime", "strictatime", "default_permissions",
    "fsname"};
constexpr std::array<std::string_view, 7> kIgnoredPrefixes = {
    "x-", "X-", "comment=", "user=", "fsname=", "subtype=", "uhelper="};
constexpr std::array<std::string_view, 4> kKernelPrefixes = {
    "context=", "fscontext=", "defcontext=", "rootcontext="};

struct OptionHelp {
  std::string_view name;
  std::string_view help;
};
constexpr std::array<OptionHelp, 11> kHelp = {{
    {"allow_other", "other users may use the mount; the permission bits decide what they may do"},
    {"hot=SIZE", "how many bytes of staging files to keep for fast reads (a tenth of the disk)"},
    {"io_uring", "talk to the kernel through io_uring (off by default)"},
    {"log=FILE", "where the daemon logs (STORE/varve.log)"},
    {"no_io_uring", "no io_uring, also not for the store's own files"},
    {"no_passthrough", "all reads and writes go through the daemon"},
    {"remount", "change ro or rw of what is mounted there, nothing else"},
    {"ro, rw", "read-only, read-write (the default)"},
    {"suid, dev, exec",
     "as in mount(8), with no before each; users other than root get nosuid,nodev"},
    {"supervise", "a second process replaces a daemon that died"},
    {"threads=N", "how many threads digest and decode (from the number of cores)"},
}};

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

Status AddSwitch(std::string_view name, MountRequest* request, bool* known) {
  *known = true;
  if (name == "no_passthrough") {
    request->passthrough = false;
  } else if (name == "no_io_uring") {
    request->store_io_uring = false;
    request->fuse_io_uring = false;
  } else if (name == "io_uring") {
    request->store_io_uring = true;
    request->fuse_io_uring = true;
  } else if (name == "allow_other") {
    request->allow_other = true;
  } else if (name == "supervise") {
    request->supervise = true;
  } else if (name == "remount") {
    request->remount = true;
  } else if (Contains(kKernelFlags, name) || HasPrefixOf(kKernelPrefixes, name)) {
    request->mount_flags.emplace_back(name);
  } else {
    *known = Contains(kIgnored, name) || HasPrefixOf(kIgnoredPrefixes, name);
  }
  return Status();
}

Status AddValue(std::string_view name, std::string_view value, MountRequest* request, bool* known) {
  *known = true;
  if (name == "threads") {
    unsigned threads = 0;
    const auto end = value.data() + value.size();
    const auto parsed = std::from_chars(value.data(), end, threads);
    if (parsed.ec != std::errc() || parsed.ptr != end || threads < 1 || threads > 1024) {
      return Status(Code::kInvalid, fmt::format("-o threads={}: a number from 1 to 1024 is needed",
                                                Printable(value)));
    }
    request->threads = threads;
  } else if (name == "hot") {
    const Result<uint64_t> size = ParseSize(value);
    if (!size.ok()) {
      return Status(Code::kInvalid,
                    fmt::format("-o hot={}: {}", Printable(value), size.status().context()));
    }
    request->hot_bytes_max = *size;
  } else if (name == "log") {
    if (!value.starts_with('/')) {
      return Status(Code::kInvalid,
                    fmt::format("-o log={}: an absolute path is needed", Printable(value)));
    }
    request->log_path = value;
  } else {
    *known = false;
  }
  return Status();
}

}  // namespace

Status AddMountOptions(std::string_view list, bool sloppy, MountRequest* request) {
  for (const std::string& option : SplitOptions(list)) {
    bool known = false;
    RETURN_IF_ERROR(AddSwitch(option, request, &known));
    const size_t equals = option.find('=');
    if (!known && equals != std::string::npos) {
      const std::string_view text = option;
      RETURN_IF_ERROR(AddValue(text.substr(0, equals), text.substr(equals + 1), request, &known));
    }
    if (!known && !sloppy) {
      return Status(Code::kInvalid, fmt::format("-o {}: there is no such option; see varve mount "
                                                "--help",
                                                Printable(option)));
    }
  }
  return Status();
}

std::string MountOptionsHelp() {
  std::string out = "Options for -o, separated by commas:\n";
  for (const OptionHelp& option : kHelp) {
    out += fmt::format("  {:<17} {}\n", option.name, option.help);
  }
  return out;
}

}  // namespace varve
