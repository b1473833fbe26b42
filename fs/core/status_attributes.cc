#include "fs/core/status_attributes.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace varve {
namespace {

using Answer = std::optional<std::string>;

std::string Flag(bool value) { return value ? "1" : "0"; }

Answer Incomplete(const StatusFacts& facts) {
  if (IsComplete(facts.content)) return std::nullopt;
  if (facts.content.torn) return "a power cut left nothing of it";
  if (!facts.content.captured) return "it is being written, or not captured yet";
  if (!facts.content.incomplete_reason.empty()) return facts.content.incomplete_reason;
  return "it is shorter than its format says";
}

Answer Version(const StatusFacts& facts) {
  if (!facts.version) return std::nullopt;
  return std::to_string(*facts.version);
}

Answer Id(const StatusFacts& facts) {
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(facts.id));
  return digits.data();
}

struct Attribute {
  std::string_view name;
  Answer (*answer)(const StatusFacts&);
};

constexpr Attribute kAttributes[] = {
    {"complete", [](const StatusFacts& f) -> Answer { return Flag(IsComplete(f.content)); }},
    {"durable",
     [](const StatusFacts& f) -> Answer {
       return Flag(f.content.captured && f.content.durable && !f.content.torn);
     }},
    {"format",
     [](const StatusFacts& f) -> Answer { return std::string(FormatName(f.content.format)); }},
    {"id", Id},
    {"incomplete", Incomplete},
    {"stored", [](const StatusFacts& f) -> Answer { return Flag(f.content.stored); }},
    {"version", Version},
};

}  // namespace

bool IsVerdict(std::string_view name) {
  if (!name.starts_with(kStatusAttributePrefix)) return false;
  name.remove_prefix(kStatusAttributePrefix.size());
  return name == "complete" || name == "incomplete" || name == "format";
}

std::optional<std::string> StatusAttribute(std::string_view name, const StatusFacts& facts) {
  if (!name.starts_with(kStatusAttributePrefix)) return std::nullopt;
  name.remove_prefix(kStatusAttributePrefix.size());
  const auto* found = std::find_if(std::begin(kAttributes), std::end(kAttributes),
                                   [&](const Attribute& a) { return a.name == name; });
  if (found == std::end(kAttributes)) return std::nullopt;
  return found->answer(facts);
}

std::string_view FormatName(ContentFormat format) {
  switch (format) {
    case ContentFormat::kPlain:
      return "plain";
    case ContentFormat::kSafetensors:
      return "safetensors";
    case ContentFormat::kTorchZip:
      return "torch-zip";
    case ContentFormat::kNpy:
      return "npy";
    case ContentFormat::kNpz:
      return "npz";
    case ContentFormat::kGguf:
      return "gguf";
    case ContentFormat::kDistcp:
      return "distcp";
  }
  return "plain";
}

bool IsComplete(const ContentRecord& content) {
  return content.captured && !content.torn && content.complete;
}

}  // namespace varve
