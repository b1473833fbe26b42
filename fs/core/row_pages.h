// Walks many rows of the catalog, a page at a time: what is done with a page may call
// the catalog, and the index pins no old state meanwhile.
//
// Threads: a free function.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "fs/core/keys.h"
#include "index/catalog.h"

namespace varve {

using RowPage = std::vector<std::pair<std::string, std::string>>;  // key, row; ascending

// Rows that come or go meanwhile may be seen or not. Stops at the first failure.
Status ForEachPage(Catalog& catalog, key::Range range,
                   const std::function<Status(const RowPage&)>& visit);

}  // namespace varve
