#include "fs/cli/log_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "fs/cli/commands.h"
#include "fs/cli/directory_versions.h"
#include "fs/cli/failure.h"
#include "fs/cli/output.h"
#include "fs/cli/time_text.h"

namespace varve {
namespace {

struct Options {
  std::string path;
  bool json = false;
};

// "plain" says nothing about whether it is whole: nobody can know.
std::string Complete(const VersionInfo& version) {
  if (version.complete) return version.format == "plain" ? "-" : "yes";
  return "NO: " + Printable(version.incomplete);
}

ExitCode RunForDirectory(const Options& options) {
  const auto versions = ListDirectoryVersions(options.path);
  if (!versions.ok()) return Fail(versions.status());
  fmt::print("{}", options.json ? DirectoryVersionsJson(options.path, *versions)
                                : DescribeDirectoryVersions(*versions));
  return kDone;
}

ExitCode Run(const Options& options) {
  if (IsDirectory(options.path)) return RunForDirectory(options);
  const Result<VersionedFile> file = FindVersionedFile(options.path);
  if (!file.ok()) return Fail(file.status());
  const Result<std::vector<VersionInfo>> versions = ListVersions(*file);
  if (!versions.ok()) return Fail(versions.status());
  fmt::print("{}", options.json ? VersionsJson(*file, *versions) : DescribeVersions(*versions));
  return kDone;
}

}  // namespace

std::string DescribeVersions(const std::vector<VersionInfo>& versions) {
  using Align = Table::Align;
  Table table({{"VERSION", Align::kRight},
               {"CAPTURED", Align::kLeft},
               {"SIZE", Align::kRight},
               {"FORMAT", Align::kLeft},
               {"DURABLE", Align::kLeft},
               {"COMPLETE", Align::kLeft}});
  for (const VersionInfo& version : versions) {
    table.AddRow({std::to_string(version.number), FormatTime(version.capture_time),
                  HumanSize(version.size_bytes), Printable(version.format),
                  version.durable ? "yes" : "not yet", Complete(version)});
  }
  return table.Render();
}

std::string VersionsJson(const VersionedFile& file, const std::vector<VersionInfo>& versions) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const VersionInfo& version : versions) {
    nlohmann::ordered_json one = {{"version", version.number},
                                  {"path", version.path},
                                  {"captured", FormatTimeUtc(version.capture_time)},
                                  {"size_bytes", version.size_bytes},
                                  {"format", version.format},
                                  {"complete", version.complete},
                                  {"durable", version.durable},
                                  {"stored", version.stored}};
    if (!version.complete) one["incomplete"] = version.incomplete;
    list.push_back(std::move(one));
  }
  const nlohmann::ordered_json all = {{"file", file.path}, {"versions", std::move(list)}};
  // A name need not be UTF-8; what is not becomes U+FFFD.
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void AddLogCommand(CLI::App& root, int* exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("log", "List the versions of a file or a directory");
  command->add_option("PATH", options->path, "The file, which may have been removed, or directory")
      ->required();
  command->add_flag("--json", options->json, "Print JSON (docs/SEMANTICS.md)");
  command->footer(
      "Examples:\n"
      "  varve log /mnt/runs/run1/last.pt\n"
      "  varve log --json /mnt/runs/run1/checkpoint-100/model.safetensors   # rotated away\n"
      "  varve log /mnt/runs/run1\n"
      "Without this program: ls -l /mnt/runs/run1/.varve/versions/last.pt\n"
      "                      ls -l /mnt/runs/run1/.varve/history\n"
      "Exit status: 0 done, 1 failed or no version, 3 not in a VarveFS mount.");
  command->callback([options, exit_code] { *exit_code = Run(*options); });
}

}  // namespace varve
