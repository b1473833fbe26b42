#include "fs/cli/mount_command.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/cli/commands.h"
#include "fs/cli/daemon.h"
#include "fs/cli/mount_checks.h"
#include "fs/cli/mount_options.h"
#include "fs/cli/output.h"

namespace varve {
namespace {

constexpr int kHelperUsage = 1;
constexpr int kHelperFailed = 32;

struct FlagBit {
  const char* name;
  unsigned long set;
  unsigned long cleared;
};
constexpr std::array<FlagBit, 12> kFlagBits = {{{"ro", MS_RDONLY, 0},
                                                {"rw", 0, MS_RDONLY},
                                                {"nosuid", MS_NOSUID, 0},
                                                {"suid", 0, MS_NOSUID},
                                                {"nodev", MS_NODEV, 0},
                                                {"dev", 0, MS_NODEV},
                                                {"noexec", MS_NOEXEC, 0},
                                                {"exec", 0, MS_NOEXEC},
                                                {"sync", MS_SYNCHRONOUS, 0},
                                                {"async", 0, MS_SYNCHRONOUS},
                                                {"dirsync", MS_DIRSYNC, 0},
                                                {"noatime", MS_NOATIME, 0}}};

// The daemon goes on; only what the kernel forbids by itself changes.
ExitCode Remount(const MountRequest& request) {
  unsigned long flags = MS_REMOUNT;
  for (const std::string& name : request.mount_flags) {
    for (const FlagBit& bit : kFlagBits) {
      if (name == bit.name) flags = (flags | bit.set) & ~bit.cleared;
    }
  }
  if (mount(nullptr, request.mount_point.c_str(), nullptr, flags, nullptr) == 0) return kDone;
  PrintError(fmt::format("{} cannot be remounted: {}", Printable(request.mount_point),
                         std::strerror(errno)));
  return kFailed;
}

ExitCode PrepareAndRun(MountRequest request) {
  if (request.remount) return Remount(request);
  if (const Status prepared = PrepareMount(&request); !prepared.ok()) {
    PrintError(prepared.context());
    return kFailed;
  }
  return RunMount(request);
}

ExitCode Complain(const Status& status) {
  PrintError(status.context());
  return kUsage;
}

}  // namespace

void AddMountCommand(CLI::App& root, int* exit_code) {
  struct Arguments {
    MountRequest request;
    std::vector<std::string> options;
    std::string timeout;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const command =
      root.add_subcommand("mount", "Mount a store; returns when the mount is live");
  command->add_flag("-f,--foreground", arguments->request.foreground,
                    "Stay in the foreground, log to stderr as well");
  command
      ->add_option("-o,--options", arguments->options,
                   "Options, separated by commas; may be given again")
      ->type_name("OPTIONS")
      ->type_size(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option("--timeout", arguments->timeout,
                   "How long the daemon may store what is pending after SIGTERM; -o timeout is the "
                   "same")
      ->type_name("SECONDS");
  command
      ->add_option("STORE", arguments->request.store_path,
                   "Directory on a local disk; created and initialised if it is not there or empty")
      ->type_name("")
      ->required();
  command->add_option("MOUNTPOINT", arguments->request.mount_point, "Directory to mount it on")
      ->type_name("")
      ->required();
  command->footer(MountOptionsHelp());
  command->callback([arguments, exit_code] {
    if (!arguments->timeout.empty()) arguments->options.push_back("timeout=" + arguments->timeout);
    for (const std::string& list : arguments->options) {
      const Status added = AddMountOptions(list, false, &arguments->request);
      if (!added.ok()) {
        *exit_code = Complain(added);
        return;
      }
    }
    *exit_code = PrepareAndRun(std::move(arguments->request));
  });
}

bool IsMountHelper(std::string_view program) {
  const std::string_view name = program.substr(program.rfind('/') + 1);
  return name == "mount.varvefs" || name == "mount.fuse.varvefs";
}

int RunMountHelper(int argument_count, char** arguments) {
  MountRequest request;
  std::string options;
  std::vector<std::string> paths;
  bool sloppy = false;
  bool fake = false;
  // "-": operands in their order, so that options may follow them as mount(8) does it.
  for (int option = 0; (option = getopt(argument_count, arguments, "-sfnvt:o:")) != -1;) {
    if (option == 's') sloppy = true;
    if (option == 'f') fake = true;
    if (option == 'o') options += fmt::format(",{}", optarg);
    if (option == 1) paths.emplace_back(optarg);
    if (option == '?') return kHelperUsage;
  }
  for (int i = optind; i < argument_count; ++i) paths.emplace_back(arguments[i]);
  if (paths.size() != 2) {
    PrintError(fmt::format("usage: {} STORE MOUNTPOINT [-sfnv] [-o OPTIONS]", arguments[0]));
    return kHelperUsage;
  }
  request.store_path = paths[0];
  request.mount_point = paths[1];
  if (const Status added = AddMountOptions(options, sloppy, &request); !added.ok()) {
    PrintError(added.context());
    return kHelperUsage;
  }
  if (fake) return 0;
  return PrepareAndRun(std::move(request)) == kDone ? 0 : kHelperFailed;
}

}  // namespace varve
