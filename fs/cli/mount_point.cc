#include "fs/cli/mount_point.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "fs/cli/output.h"

namespace varve {
namespace {

namespace stdfs = std::filesystem;

struct MountinfoLine {
  std::string root;
  std::string type;
  std::string source;
};

// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
std::optional<MountinfoLine> ParseLine(const std::string& text) {
  std::istringstream line(text);
  std::string skipped;
  MountinfoLine parsed;
  for (int i = 0; i < 4; ++i) line >> skipped;
  line >> parsed.root;
  while (line >> skipped && skipped != "-") {
  }
  line >> parsed.type >> parsed.source;
  if (!line) return std::nullopt;
  parsed.root = UnescapeMountinfo(parsed.root);
  parsed.source = UnescapeMountinfo(parsed.source);
  return parsed;
}

std::vector<MountinfoLine> ReadMountinfo(const std::string& path) {
  std::vector<MountinfoLine> lines;
  std::ifstream file(path);
  for (std::string text; std::getline(file, text);) {
    if (auto line = ParseLine(text)) lines.push_back(std::move(*line));
  }
  return lines;
}

}  // namespace

std::string UnescapeMountinfo(std::string_view field) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size() && is_octal(field[i + 1]) &&
        is_octal(field[i + 2]) && is_octal(field[i + 3])) {
      out += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 +
                               (field[i + 3] - '0'));
      i += 3;
    } else {
      out += field[i];
    }
  }
  return out;
}

bool LiesIn(std::string_view path, std::string_view folder) {
  if (folder == "/") return true;
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  stdfs::path absolute = stdfs::absolute(path, error).lexically_normal();
  if (error) return path;
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  const stdfs::path canonical = stdfs::canonical(absolute, error);
  if (!error) return canonical;
  const stdfs::path parent = stdfs::canonical(absolute.parent_path(), error);
  return error ? absolute : parent / absolute.filename();
}

std::vector<Mount> ListMounts(const std::string& mountinfo) {
  std::vector<Mount> mounts;
  for (MountinfoLine& line : ReadMountinfo(mountinfo)) {
    if (line.type == kFilesystemType) {
      mounts.push_back({std::move(line.root), std::move(line.source)});
    }
  }
  return mounts;
}

Result<MountedPath> FindMount(const std::string& path) {
  const std::string absolute = AbsolutePath(path);
  // Of all mounts the path lies in, the deepest shows it; of equal ones, the last.
  std::optional<MountinfoLine> best;
  for (MountinfoLine& line : ReadMountinfo("/proc/self/mountinfo")) {
    if (LiesIn(absolute, line.root) && (!best || line.root.size() >= best->root.size())) {
      best = std::move(line);
    }
  }
  if (!best || best->type != kFilesystemType) {
    return Status(Code::kNotFound, fmt::format("{} is in no VarveFS mount", Printable(absolute)));
  }
  const size_t skip = best->root == "/" ? 1 : best->root.size() + 1;
  MountedPath found{{best->root, best->source}, ""};
  if (absolute.size() > skip) found.relative = absolute.substr(skip);
  return found;
}

bool IsMounted(const Mount& mount) {
  const Result<MountedPath> found = FindMount(mount.root);
  return found.ok() && found->relative.empty() && found->mount.store == mount.store;
}

}  // namespace varve
