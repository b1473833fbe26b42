#include "index/catalog.h"

namespace varve {

Status KeyValueStore::Scan(std::string_view begin, std::string_view end, const VisitFn& visit) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Cursor> cursor, OpenCursor(begin));
  while (cursor->valid() && (end.empty() || cursor->key() < end)) {
    if (!visit(cursor->key(), cursor->value())) break;
    RETURN_IF_ERROR(cursor->Next());
  }
  return {};
}

}  // namespace varve
