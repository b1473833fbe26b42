#include "fs/core/row_pages.h"

namespace varve {

Status ForEachPage(Catalog& catalog, key::Range range,
                   const std::function<Status(const RowPage&)>& visit) {
  RowPage page;
  page.reserve(Catalog::kScanKeysMax);
  do {
    page.clear();
    RETURN_IF_ERROR(
        catalog.Scan(range.begin, range.end, [&](std::string_view row_key, std::string_view row) {
          page.emplace_back(row_key, row);
          return page.size() < Catalog::kScanKeysMax;
        }));
    if (page.empty()) return Status();
    RETURN_IF_ERROR(visit(page));
    range.begin = page.back().first + '\0';
  } while (page.size() == Catalog::kScanKeysMax);
  return Status();
}

}  // namespace varve
