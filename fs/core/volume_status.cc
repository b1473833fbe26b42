#include "fs/core/volume_status.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace varve {
namespace {

using Json = nlohmann::ordered_json;

Json FastPath(bool on, const std::string& reason) { return {{"on", on}, {"reason", reason}}; }

const char* KindName(CrashKind kind) {
  switch (kind) {
    case CrashKind::kClean:
      return "clean";
    case CrashKind::kDaemonDied:
      return "daemon_died";
    case CrashKind::kPowerCut:
      return "power_cut";
  }
  return "unknown";
}

Json Savings(const ContentStore::Counters& contents) {
  const uint64_t logical = contents.new_bytes + contents.shared_bytes;
  return {{"logical_bytes", logical},
          {"stored_bytes", contents.stored_bytes},
          {"ratio", contents.stored_bytes == 0 ? 1.0
                                               : static_cast<double>(logical) /
                                                     static_cast<double>(contents.stored_bytes)}};
}

Json Collection(const CollectProgress& progress, bool history_yields) {
  const CollectReport& last = progress.last;
  return {{"on_full", history_yields ? "history" : "fail"},
          {"versions_for_room", progress.versions_for_room},
          {"asked", progress.asked},
          {"finished", progress.finished},
          {"running", progress.running},
          {"step", progress.step},
          {"last",
           {{"dry_run", last.options.dry_run},
            {"file_versions", last.file_versions},
            {"directory_versions", last.directory_versions},
            {"versions_for_room", last.versions_for_room},
            {"saved_rows", last.saved_rows},
            {"contents", last.contents},
            {"content_bytes", last.content_bytes},
            {"chunks", last.chunks},
            {"chunk_bytes", last.chunk_bytes},
            {"hot_bytes", last.hot_bytes},
            {"recoded_chunks", last.recoded.chunks},
            {"recoded_bytes_before", last.recoded.bytes_before},
            {"recoded_bytes_after", last.recoded.bytes_after},
            {"packs", last.packs.packs},
            {"freed_bytes", last.packs.bytes},
            {"moved_bytes", last.packs.moved_bytes},
            {"seconds", last.seconds},
            {"error", last.error}}}};
}

// Without the paths, which are not for everybody: user.varve.scrub has them.
Json Scrub(const ScrubProgress& progress) {
  Json last = Json::object();
  for (const auto& [name, number] : progress.last.counts()) last[name] = number;
  last["clean"] = progress.last.clean();
  last["error"] = progress.last.error;
  return {{"asked", progress.asked},
          {"finished", progress.finished},
          {"running", progress.running},
          {"bytes_done", progress.bytes_done},
          {"bytes_total", progress.bytes_total},
          {"rate_bytes", progress.rate_bytes},
          {"last", std::move(last)}};
}

}  // namespace

std::string MakeStatusJson(const StatusInput& in) {
  Json json;
  json["version"] = in.facts.version;
  json["store"] = in.store;
  json["mount_point"] = in.mount_point;
  json["fast_paths"] = {
      {"passthrough", FastPath(in.facts.passthrough, in.facts.passthrough_reason)},
      {"fuse_io_uring", FastPath(in.facts.io_uring, in.facts.io_uring_reason)},
      {"store_io_uring", FastPath(in.store_uring_reason.empty(), in.store_uring_reason)}};
  const uint64_t stage_bytes = in.hot_bytes + in.pending.bytes;
  json["space"] = {{"store_bytes", in.packs.bytes + in.catalog.index_bytes + stage_bytes},
                   {"pack_bytes", in.packs.bytes},
                   {"index_bytes", in.catalog.index_bytes},
                   {"stage_bytes", stage_bytes},
                   {"hot_bytes", in.hot_bytes},
                   {"hot_files", in.hot_files},
                   {"free_bytes", in.free_bytes}};
  json["savings"] = Savings(in.contents);
  json["pending"] = {{"files", in.pending.files},
                     {"bytes", in.pending.bytes},
                     {"oldest_seconds", in.pending.oldest_seconds},
                     {"last_error", in.digest_error}};
  json["durability"] = {{"applied", in.catalog.applied_sequence},
                        {"synced", in.catalog.synced_sequence},
                        {"committed", in.catalog.committed_sequence},
                        {"fenced", !in.fence_reason.empty() || in.catalog.fenced},
                        {"reason", in.fence_reason}};
  json["counters"] = {{"digested_bytes", in.contents.digested_bytes},
                      {"new_bytes", in.contents.new_bytes},
                      {"stored_bytes", in.contents.stored_bytes},
                      {"shared_bytes", in.contents.shared_bytes},
                      {"read_bytes", in.contents.read_bytes},
                      {"cache_hits", in.contents.cache_hits},
                      {"cache_misses", in.contents.cache_misses},
                      {"read_ahead_bytes", in.contents.read_ahead_bytes},
                      {"delta_keys", in.catalog.delta_keys},
                      {"delta_bytes", in.catalog.delta_bytes}};
  json["recovery"] = {{"kind", KindName(in.recovery.kind)},
                      {"replayed_records", in.catalog.replayed_batches},
                      {"finished_contents", in.recovery.finished},
                      {"fallen_back", in.recovery.fallen_back},
                      {"torn", in.recovery.torn}};
  json["collection"] = Collection(in.collection, in.history_yields);
  json["scrub"] = Scrub(in.scrub);
  json["daemon"] = {{"pid", getpid()}, {"uptime_seconds", in.uptime_seconds}};
  return json.dump(2) + "\n";
}

}  // namespace varve
