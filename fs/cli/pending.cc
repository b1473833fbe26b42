#include "fs/cli/pending.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fs/cli/output.h"

namespace varve {

std::optional<Pending> ParsePending(const std::string& status_json) {
  const nlohmann::json status = nlohmann::json::parse(status_json, nullptr, false);
  if (!status.is_object() || !status.contains("pending")) return std::nullopt;
  const nlohmann::json& pending = status["pending"];
  if (!pending.is_object()) return std::nullopt;
  const auto number = [&pending](const char* name) -> uint64_t {
    const auto found = pending.find(name);
    return found != pending.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
  };
  return Pending{number("files"), number("bytes")};
}

std::string DescribePending(const Pending& pending) {
  return fmt::format("{} {} ({})", pending.files, pending.files == 1 ? "file" : "files",
                     HumanSize(pending.bytes));
}

}  // namespace varve
