#include "fs/cli/status_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "fs/cli/commands.h"
#include "fs/cli/failure.h"
#include "fs/cli/output.h"
#include "fs/cli/time_text.h"

namespace varve {
namespace {

struct Options {
  std::string path;
  bool json = false;
};

std::string FastPaths(const StatusReport& report) {
  constexpr const char* kNames[] = {"passthrough", "fuse_io_uring", "store_io_uring"};
  std::string text;
  for (const std::string name : kNames) {
    const std::string path = "fast_paths/" + name;
    const std::string reason = report.Text(path + "/reason");
    const bool on = report.Flag(path + "/on");
    if (!text.empty()) text += ", ";
    text += name + (on ? " on" : " off");
    if (!on && !reason.empty()) text += fmt::format(" ({})", Printable(reason));
  }
  return text;
}

std::string Pending(const StatusReport& report) {
  const uint64_t files = report.Number("pending/files");
  if (files == 0) return "nothing";
  const double oldest_seconds = report.Real("pending/oldest_seconds");
  return fmt::format("{} {}, {}, the oldest for {}", files, files == 1 ? "file" : "files",
                     HumanSize(report.Number("pending/bytes")),
                     HumanDuration(static_cast<int64_t>(oldest_seconds * 1e9)));
}

std::string Durability(const StatusReport& report) {
  if (report.Flag("durability/fenced")) {
    return fmt::format("FENCED: read-only until it is mounted again ({})",
                       Printable(report.Text("durability/reason")));
  }
  const uint64_t applied = report.Number("durability/applied");
  const uint64_t committed = report.Number("durability/committed");
  if (committed >= applied) return "all changes are committed";
  const uint64_t left = applied - committed;
  return fmt::format("{} wait{} for the next commit",
                     left == 1 ? "1 change" : fmt::format("{} changes", left),
                     left == 1 ? "s" : "");
}

std::string Recovery(const StatusReport& report) {
  const std::string kind = report.Text("recovery/kind");
  if (kind.empty() || kind == "clean") return "not needed: the last mount ended cleanly";
  return fmt::format("after {}: {} records replayed, {} contents finished, {} fallen back, {} torn",
                     kind == "power_cut" ? "a power cut" : "the daemon's death",
                     report.Number("recovery/replayed_records"),
                     report.Number("recovery/finished_contents"),
                     report.Number("recovery/fallen_back"), report.Number("recovery/torn"));
}

std::string History(const StatusReport& report) {
  const uint64_t dropped = report.Number("collection/versions_for_room");
  return fmt::format("{} when little room is left; {} versions so far",
                     report.Text("collection/on_full") == "fail" ? "stays" : "makes room", dropped);
}

std::string Scrub(const StatusReport& report) {
  if (report.Flag("scrub/running"))
    return fmt::format("running: {} of {}", HumanSize(report.Number("scrub/bytes_done")),
                       HumanSize(report.Number("scrub/bytes_total")));
  const uint64_t ended_s = report.Number("scrub/last/ended_seconds");
  if (ended_s == 0) return "never; `varve scrub` reads all that is stored";
  const std::string error = report.Text("scrub/last/error");
  return fmt::format("{} at {}",
                     !report.Flag("scrub/last/clean") ? "DAMAGE FOUND"
                     : error.empty()                  ? "nothing was damaged"
                                                      : "ended early",
                     FormatTime({static_cast<time_t>(ended_s), 0}));
}

ExitCode Run(const Options& options) {
  const Result<Mount> mount = ChooseMount(options.path);
  if (!mount.ok()) return Fail(mount.status());
  const Result<StatusReport> report = StatusReport::Read(*mount);
  if (!report.ok()) return Fail(report.status());
  if (options.json) {
    fmt::print("{}{}", report->json(), report->json().ends_with('\n') ? "" : "\n");
  } else {
    fmt::print("{}", DescribeStatus(*mount, *report));
  }
  return kDone;
}

}  // namespace

std::string DescribeStatus(const Mount& mount, const StatusReport& report) {
  const auto size = [&](const char* path) { return HumanSize(report.Number(path)); };
  std::string text = fmt::format("{} is VarveFS {} on the store {}\n", Printable(mount.root),
                                 Printable(report.Text("version")), Printable(mount.store));
  text +=
      fmt::format("daemon      pid {}, up for {}\n", report.Number("daemon/pid"),
                  HumanDuration(static_cast<int64_t>(report.Real("daemon/uptime_seconds") * 1e9)));
  text += fmt::format("fast paths  {}\n", FastPaths(report));
  text +=
      fmt::format("space       {} in the store: packs {}, index {}, staging {} (hot {}); {} free\n",
                  size("space/store_bytes"), size("space/pack_bytes"), size("space/index_bytes"),
                  size("space/stage_bytes"), size("space/hot_bytes"), size("space/free_bytes"));
  text += fmt::format("history     {}\n", History(report));
  text += fmt::format("savings     {} stored as {} since the mount: {:.2f} to 1\n",
                      size("savings/logical_bytes"), size("savings/stored_bytes"),
                      report.Real("savings/ratio"));
  text += fmt::format("pending     {}\n", Pending(report));
  text += fmt::format("durability  {}\n", Durability(report));
  text += fmt::format("recovery    {}\n", Recovery(report));
  text += fmt::format("scrub       {}\n", Scrub(report));
  return text;
}

void AddStatusCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("status", "Say what a mount is doing");
  command->add_option("PATH", options->path,
                      "The mount point, anything in it, or the store's directory; without it the "
                      "mount of the working directory, or the only one there is");
  command->add_flag("--json", options->json, "Print the daemon's own JSON (docs/SEMANTICS.md)");
  command->footer(
      "Examples:\n"
      "  varve status /mnt/runs\n"
      "  varve status --json /mnt/runs | jq .pending\n"
      "Without this program: cat /mnt/runs/.varve/status\n"
      "Exit status: 0 done, 1 failed, 3 no such mount.");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
