#include <fmt/format.h>
#include <sys/xattr.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "fs/cli/await_run.h"
#include "fs/cli/commands.h"
#include "fs/cli/exit_code.h"
#include "fs/cli/failure.h"
#include "fs/cli/mount_point.h"
#include "fs/cli/output.h"
#include "fs/cli/report_attribute.h"

namespace varve {
namespace {

constexpr size_t kShownMax = 20;
constexpr const char* kAttribute = "user.varve.scrub";

struct Options {
  std::string path = ".";
  std::string rate;
  bool stop = false;
  bool json = false;
};

// "" when it is a rate.
std::string WhyNoRate(const std::string& text) {
  const Result<uint64_t> size = ParseSize(text);
  if (!size.ok()) return std::string(size.status().context());
  return *size > 0 ? "" : "a rate is more than nothing";
}

std::string Ask(const Options& options) {
  if (options.stop) return "stop";
  if (options.rate.empty()) return "start";
  const Result<uint64_t> rate = ParseSize(options.rate);
  return fmt::format("rate={}", rate.ok() ? *rate : 0);
}

// Until the run that was asked for has ended.
Status AwaitScrub(const Mount& mount) {
  ProgressBar bar("scrubbing");
  return AwaitRun(mount, "scrub",
                  [&](const StatusReport& now) {
                    const uint64_t done = now.Number("scrub/bytes_done");
                    const uint64_t total = now.Number("scrub/bytes_total");
                    bar.Update(done, total,
                               fmt::format("{} of {}", HumanSize(done), HumanSize(total)));
                  })
      .status();
}

uint64_t Number(const nlohmann::json& report, const char* name) {
  return report.value(name, uint64_t{0});
}

// Those of a list that the report has room for, and how many there are besides.
std::string Lines(const nlohmann::json& report, const char* name, uint64_t count,
                  const std::function<std::string(const std::string&)>& line) {
  std::string text;
  uint64_t shown = 0;
  for (const nlohmann::json& item : report.value(name, nlohmann::json::array())) {
    if (!item.is_string() || shown == kShownMax) break;
    text += line(item.get<std::string>()) + "\n";
    ++shown;
  }
  if (count > shown) text += fmt::format("and {} more; the log says which\n", count - shown);
  return text;
}

std::string Describe(const Mount& mount, const nlohmann::json& report) {
  const uint64_t places = Number(report, "damaged_places");
  const uint64_t files = Number(report, "damaged_files");
  std::string text = Lines(report, "places", places,
                           [](const std::string& place) { return "damage: " + Printable(place); });
  text += Lines(report, "files", files, [&](const std::string& path) {
    return "damaged: " + Printable(path.starts_with('/') ? mount.root + path : path);
  });
  text += fmt::format("{}: read {} in {} packs, {} chunks are intact\n", Printable(mount.root),
                      HumanSize(Number(report, "bytes")), Number(report, "packs"),
                      Number(report, "chunks"));
  if (report.value("clean", false)) return text;
  return text + fmt::format(
                    "{}: DAMAGE FOUND: {} places in packs, {} chunks, which {} files and versions "
                    "need; unmount it, then varve fsck --repair --verify-data {}\n",
                    Printable(mount.root), places, Number(report, "damaged_chunks"), files,
                    Printable(mount.store));
}

ExitCode Run(const Options& options) {
  const Result<MountedPath> found = FindMount(options.path);
  if (!found.ok()) return Fail(found.status());
  const Mount& mount = found->mount;
  const std::string ask = Ask(options);
  if (setxattr(mount.root.c_str(), kAttribute, ask.data(), ask.size(), 0) != 0) {
    PrintError(errno == EPERM || errno == EACCES
                   ? fmt::format("only root and who mounted {} may scrub", Printable(mount.root))
                   : fmt::format("{}: {}", Printable(mount.root), std::strerror(errno)));
    return kFailed;
  }
  if (options.stop) return kDone;
  const Status awaited = AwaitScrub(mount);
  if (!awaited.ok()) return Fail(awaited);
  const Result<std::string> read = ReadReportAttribute(mount, kAttribute);
  if (!read.ok()) return Fail(read.status());
  const nlohmann::json report = nlohmann::json::parse(*read);
  fmt::print("{}", options.json
                       ? report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                       : Describe(mount, report));
  const std::string error = report.value("error", "");
  if (!error.empty())
    PrintError(
        fmt::format("{}: the scrub ended early: {}", Printable(mount.root), Printable(error)));
  if (!report.value("clean", false)) return kDamaged;
  return error.empty() ? kDone : kFailed;
}

}  // namespace

void AddScrubCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* const command =
      root.add_subcommand("scrub", "Read all that a mount has stored, and say what is damaged");
  command->add_option("--rate", options->rate, "Read no more than so much a second, like 100M")
      ->check(CLI::Validator(WhyNoRate, ""));
  command->add_flag("--stop", options->stop, "End the scrub that runs; do not wait");
  command->add_flag("--json", options->json, "Print JSON (docs/SEMANTICS.md)");
  command->add_option("PATH", options->path, "Anything in the mount; here, if it is left out")
      ->type_name("");
  command->footer(
      "It runs in the daemon, beside everything else; a second one joins it, and its rate counts "
      "then.\n"
      "Ctrl-C ends the waiting only.\n"
      "Examples:\n"
      "  varve scrub /mnt/runs\n"
      "  varve scrub --rate 100M --json /mnt/runs | jq .files\n"
      "Exit status: 0 nothing is damaged, 1 failed or stopped, 2 usage, 3 not in a VarveFS mount, "
      "5\n"
      "damage was found.");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
