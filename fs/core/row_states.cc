#include "fs/core/row_states.h"

#include <algorithm>
#include <optional>

#include "fs/core/records.h"
#include "fs/core/row_pages.h"

namespace varve {

Moments Common(Moments a, Moments b) {
  return {std::max(a.begin, b.begin), std::min(a.end, b.end)};
}

Status ForEachState(Catalog& catalog, const std::string& key,
                    const std::function<Status(Moments when, std::string_view row)>& visit) {
  // First the row as it is: what changes meanwhile is saved by then.
  ASSIGN_OR_RETURN(const std::optional<std::string> present, catalog.Get(key));
  Moment since = 0;
  const key::Range range{key::Saved(key, 0), key::Saved(key, ~Moment{0}) + '\0'};
  const Status walked = ForEachPage(catalog, range, [&](const RowPage& page) -> Status {
    for (const auto& [row_key, row] : page) {
      const Moment until = key::SavedUntil(row_key);
      ASSIGN_OR_RETURN(const SavedRow saved, SavedRow::Decode(row));
      if (saved.row) RETURN_IF_ERROR(visit({since, until}, *saved.row));
      since = until;
    }
    return Status();
  });
  RETURN_IF_ERROR(walked);
  return present ? visit({since, ~Moment{0}}, *present) : Status();
}

}  // namespace varve
