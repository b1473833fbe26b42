// How a daemon tells the command that started it what became of the mount.
//
// A pipe: the daemon writes one message, the command waits for it. Whichever side
// dies, the other sees the end of the pipe.
//
// Threads: one at a time for each side.
#pragma once

#include <optional>
#include <string>

#include "fs/cli/exit_code.h"
#include "store/base/result.h"
#include "store/base/unique_fd.h"

namespace varve {

struct MountOutcome {
  bool live = false;
  std::string sentence;  // why not
};

// The daemon's side. Only the first report counts.
class MountReporter {
 public:
  MountReporter() = default;  // reports to nobody
  explicit MountReporter(UniqueFd pipe) : pipe_(std::move(pipe)) {}

  // False if the command is gone, by ^C for example: nobody wants the mount.
  bool Live();
  void Failed(const std::string& sentence);
  bool reported() const { return reported_; }

 private:
  bool Send(const std::string& message);

  UniqueFd pipe_;
  bool reported_ = false;
};

// The command's side: what the daemon said; nothing if it died without a word.
std::optional<MountOutcome> ReceiveOutcome(UniqueFd pipe);

struct MountPipe {
  UniqueFd reading;
  UniqueFd writing;
};
Result<MountPipe> MakeMountPipe();

}  // namespace varve
