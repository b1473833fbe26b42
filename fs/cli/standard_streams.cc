#include "fs/cli/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include "store/base/unique_fd.h"

namespace varve {

void CloseStandardStreams() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int stream = 0; null.valid() && stream <= STDERR_FILENO; ++stream) {
    dup2(null.get(), stream);
  }
}

}  // namespace varve
