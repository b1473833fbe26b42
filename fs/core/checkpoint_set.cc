#include "fs/core/checkpoint_set.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "fs/core/content_verdict.h"
#include "fs/core/history.h"
#include "fs/core/status_attributes.h"

namespace varve {
namespace {

constexpr std::string_view kIndexEnding = ".index.json";
constexpr std::string_view kShardEnding = ".distcp";
constexpr std::string_view kMetadataName = ".metadata";
constexpr uint64_t kIndexBytesMax = 64u << 20;

// The shards that an index file names; nothing when it is no index of shards.
Result<std::set<std::string>> ShardsOf(VersionReader& contents, const SetMember& index) {
  std::set<std::string> shards;
  if (index.content == 0 || index.size_bytes == 0 || index.size_bytes > kIndexBytesMax)
    return shards;
  ASSIGN_OR_RETURN(const std::shared_ptr<ContentReader> reader,
                   contents.OpenContent(index.content, index.size_bytes, index.name));
  std::string text(static_cast<size_t>(reader->size_bytes()), '\0');
  RETURN_IF_ERROR(reader->ReadInto(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  const nlohmann::json parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return shards;
  const auto map = parsed.find("weight_map");
  if (map == parsed.end() || !map->is_object()) return shards;
  for (const auto& [tensor, shard] : map->items())
    if (shard.is_string()) shards.insert(shard.get<std::string>());
  return shards;
}

}  // namespace

std::optional<std::string> DirectoryAttribute(std::string_view name,
                                              const DirectoryVerdict& verdict) {
  if (!verdict.recognised || !name.starts_with(kStatusAttributePrefix)) return std::nullopt;
  name.remove_prefix(kStatusAttributePrefix.size());
  if (name == "complete") return verdict.incomplete.empty() ? "1" : "0";
  if (name == "incomplete" && !verdict.incomplete.empty()) return verdict.incomplete;
  return std::nullopt;
}

bool NamedLikeModel(std::string_view name) {
  constexpr std::string_view kEndings[] = {".safetensors", ".pt",     ".pth", ".ckpt",
                                           ".bin",         ".distcp", ".gguf"};
  return std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

Result<SetVerdict> JudgeSet(VersionReader& contents, const std::vector<SetMember>& members) {
  SetVerdict verdict;
  std::set<std::string_view> names;
  for (const SetMember& member : members) names.insert(member.name);
  for (const SetMember& member : members) {
    if (member.name.ends_with(kShardEnding)) {
      verdict.is_set = true;
      if (!names.contains(kMetadataName)) verdict.incomplete = "its .metadata is missing";
    }
    if (!member.name.ends_with(kIndexEnding)) continue;
    ASSIGN_OR_RETURN(const std::set<std::string> shards, ShardsOf(contents, member));
    if (!shards.empty()) verdict.is_set = true;
    for (const std::string& shard : shards)
      if (!names.contains(shard)) verdict.incomplete = "the shard " + shard + " is missing";
  }
  return verdict;
}

Result<DirectoryVerdict> JudgeDirectory(Catalog& catalog, VersionReader& contents,
                                        const std::vector<SetMember>& members) {
  DirectoryVerdict verdict;
  ASSIGN_OR_RETURN(SetVerdict set, JudgeSet(contents, members));
  verdict.recognised = set.is_set;
  verdict.incomplete = std::move(set.incomplete);
  for (const SetMember& member : members) {
    if (member.content == 0) continue;
    ASSIGN_OR_RETURN(ContentRecord content, History(catalog).Content(member.content));
    RETURN_IF_ERROR(AddVerdict(contents, member.content, member.name, &content));
    const bool recognised = content.format != ContentFormat::kPlain;
    if (recognised) verdict.recognised = true;
    if (IsComplete(content) || (!recognised && !NamedLikeModel(member.name))) continue;
    verdict.recognised = true;
    if (verdict.incomplete.empty()) verdict.incomplete = member.name + " is not complete";
  }
  return verdict;
}

}  // namespace varve
