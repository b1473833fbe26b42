// Exit codes of the varve command; docs/man/varve.1 lists them for users.
#pragma once

namespace varve {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,      // the sentence on stderr says why
  kUsage = 2,       // the command line makes no sense
  kNotMounted = 3,  // the path is in no VarveFS mount
  kIncomplete = 4,  // a time limit passed; what is left goes on behind it
  kDamaged = 5,     // something stored is not what it was
};

}  // namespace varve
