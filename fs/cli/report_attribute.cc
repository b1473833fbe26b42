#include "fs/cli/report_attribute.h"

#include <linux/limits.h>
#include <sys/xattr.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "fs/cli/output.h"

namespace varve {

Result<std::string> ReadReportAttribute(const Mount& mount, const std::string& attribute) {
  std::string text(XATTR_SIZE_MAX, '\0');
  const ssize_t size = getxattr(mount.root.c_str(), attribute.c_str(), text.data(), text.size());
  if (size < 0) return Status::Errno(errno, "cannot read the report of " + Printable(mount.root));
  text.resize(static_cast<size_t>(size));
  if (!nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false).is_object())
    return Status(Code::kUnsupported, "the report of " + Printable(mount.root) + " is not JSON");
  return text;
}

}  // namespace varve
