#include "store/format/torch_zip.h"

#include <string>

#include "store/format/completeness.h"
#include "store/format/zip.h"

namespace varve {
namespace {

// More than a directory of half a million tensors.
constexpr uint64_t kWalkBytesMax = 64u << 20;

// What every file of torch has: the pickle, or the code of a TorchScript.
bool IsTorchEntry(std::string_view name) {
  const std::string_view rest = BelowZipFolder(name);
  return rest == "data.pkl" || rest == "constants.pkl";
}

// What one of torch may begin with, depending on its version.
bool BeginsTorch(std::string_view name) {
  const std::string_view rest = BelowZipFolder(name);
  for (const std::string_view known :
       {"version", "byteorder", ".format_version", ".storage_alignment"}) {
    if (rest == known) return true;
  }
  return IsTorchEntry(name) || rest.starts_with(".data/") || rest.starts_with("code/__torch__");
}

struct Walk {
  bool sound = false;
  bool torch = false;
};

Result<Walk> WalkDirectory(ByteSource& source, const ZipDirectory& directory) {
  ZipWalk entries(source, directory);
  Walk walk;
  ZipEntry entry;
  while (true) {
    const uint64_t walked_bytes = entries.walked_bytes();
    if (walked_bytes > kWalkBytesMax && walked_bytes < directory.size_bytes) {
      walk.sound = true;  // as far as it was looked at
      return walk;
    }
    ASSIGN_OR_RETURN(const bool more, entries.Next(&entry));
    // The name counts also where the entry is damaged.
    walk.torch = walk.torch || IsTorchEntry(entry.name);
    if (!more) break;
  }
  walk.sound = entries.sound();
  return walk;
}

}  // namespace

std::string_view BelowZipFolder(std::string_view name) {
  const size_t slash = name.find('/');
  return slash == std::string_view::npos || slash == 0 ? "" : name.substr(slash + 1);
}

Result<std::optional<Completeness>> CheckTorchZip(ByteSource& source) {
  using Recognised = std::optional<Completeness>;
  ASSIGN_OR_RETURN(const std::optional<std::string> first_name, FirstZipName(source));
  if (!first_name) return Recognised();
  const bool begins_as_torch = BeginsTorch(*first_name);
  const auto incomplete = [](std::string reason) {
    return Recognised(Completeness{ContentFormat::kTorchZip, false, std::move(reason)});
  };
  ASSIGN_OR_RETURN(const std::optional<ZipDirectory> directory, FindZipDirectory(source));
  if (!directory) {
    if (!begins_as_torch) return Recognised();
    return incomplete("the directory at the end of the zip is missing; it has " +
                      std::to_string(source.size_bytes()) + " bytes");
  }
  ASSIGN_OR_RETURN(const Walk walk, WalkDirectory(source, *directory));
  if (!walk.torch && (walk.sound || !begins_as_torch)) return Recognised();
  if (!walk.sound) return incomplete("the directory at the end of the zip is damaged");
  return Recognised(Completeness{ContentFormat::kTorchZip, true, ""});
}

}  // namespace varve
