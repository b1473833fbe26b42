#include "store/base/disk.h"

namespace varve {
namespace {

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string(".") : path.substr(0, slash);
}

}  // namespace

Result<std::string> ReadFile(Disk& disk, const std::string& path, size_t max_bytes) {
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, disk.Open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const struct stat attributes, file->Stat());
  const auto size = static_cast<uint64_t>(attributes.st_size);
  if (size > max_bytes) {
    return Status(Code::kInvalid, path + " has " + std::to_string(size) + " bytes, more than " +
                                      std::to_string(max_bytes));
  }
  std::string content(static_cast<size_t>(size), '\0');
  ASSIGN_OR_RETURN(const size_t got,
                   file->ReadAt(0, {reinterpret_cast<uint8_t*>(content.data()), content.size()}));
  content.resize(got);
  return content;
}

Status ReplaceFile(Disk& disk, const std::string& path, ByteView content) {
  const std::string temporary = path + ".new";
  const auto write = [&]() -> Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<File> file, disk.Open(temporary, OpenMode::kCreate));
    RETURN_IF_ERROR(file->Truncate(0));
    RETURN_IF_ERROR(file->WriteAt(0, content));
    return file->SyncData();
  };
  Status outcome = write();
  if (outcome.ok()) outcome = disk.Rename(temporary, path);
  if (!outcome.ok()) {
    // What is left of it would only take space; the next ReplaceFile overwrites it.
    static_cast<void>(disk.Remove(temporary));
    return outcome;
  }
  return disk.SyncDirectory(DirectoryOf(path));
}

}  // namespace varve
