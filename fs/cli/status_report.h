// What `.varve/status` of a mount says, for commands.
//
// The schema is in docs/SEMANTICS.md, "Status". A value that is not there reads as
// zero, false or "", so that a command can talk to an older or newer daemon.
//
// Threads: a value.
// Errors:  kNotFound with a sentence and a remedy when there is no such mount, or its
//          daemon is gone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fs/cli/mount_point.h"
#include "store/base/result.h"

namespace varve {

class StatusReport {
 public:
  // Asks the daemon of a mount.
  static Result<StatusReport> Read(const Mount& mount);
  // Fails with kCorrupt on what is no JSON object.
  static Result<StatusReport> Parse(std::string json);

  // Values by their path: Number("pending/files").
  uint64_t Number(const std::string& path) const;
  double Real(const std::string& path) const;
  bool Flag(const std::string& path) const;
  std::string Text(const std::string& path) const;
  bool Has(const std::string& path) const { return values_.contains("/" + path); }
  // The paths of all values below `path`, in byte order.
  std::vector<std::string> Below(const std::string& path) const;

  // As the daemon wrote it.
  const std::string& json() const { return json_; }

 private:
  std::string json_;
  std::map<std::string, std::string> values_;  // JSON pointer -> value as text
};

// The mount that a user means: the one that `path` lies in, or the one whose store
// `path` is; for an empty `path` the one of the working directory, or else the only
// one there is. Fails with kNotFound, a sentence and a remedy.
Result<Mount> ChooseMount(const std::string& path);

}  // namespace varve
