#include "fs/core/purge_report.h"

#include <nlohmann/json.hpp>

namespace varve {

std::string PurgeReportJson(const PurgeReport& report) {
  const nlohmann::ordered_json json = {{"path", report.path},
                                       {"dry_run", report.dry_run},
                                       {"contents", report.contents},
                                       {"content_bytes", report.content_bytes},
                                       {"versions", report.versions},
                                       {"live_contents", report.live_contents},
                                       {"busy_contents", report.busy_contents},
                                       {"packs_left", report.packs_left},
                                       {"users", report.users},
                                       {"paths", report.paths},
                                       {"error", report.error}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace varve
