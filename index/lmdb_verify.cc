#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/catalog.h"
#include "store/base/unique_fd.h"

namespace varve {
namespace {

Status ReadAll(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<KeyValueStore> store, OpenLmdb(path, true));
  return store->Scan("", "", [](std::string_view, std::string_view) { return true; });
}

// The child's whole life. What LMDB prints when it gives up is of no use to the user.
[[noreturn]] void VerifyInChild(const std::string& path) {
  const UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (null.valid()) ::dup2(null.get(), STDERR_FILENO);
  const struct rlimit no_core {};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::_exit(static_cast<int>(ReadAll(path).code()));
}

}  // namespace

Status VerifyLmdb(const std::string& path) {
  const pid_t child = ::fork();
  if (child < 0) return Status::Errno(errno, "index: start a process that reads it");
  if (child == 0) VerifyInChild(path);
  int outcome = 0;
  while (::waitpid(child, &outcome, 0) < 0) {
    if (errno != EINTR) return Status::Errno(errno, "index: wait for the process that reads it");
  }
  if (WIFSIGNALED(outcome))
    return Status(Code::kCorrupt,
                  "index: reading it ends with signal " + std::to_string(WTERMSIG(outcome)));
  const auto code = static_cast<Code>(WEXITSTATUS(outcome));
  if (code == Code::kOk) return {};
  return Status(code, "index: it cannot be read completely");
}

}  // namespace varve
