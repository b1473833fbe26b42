// All that a row has been: what was saved of it, moment by moment, and what it is.
//
// Threads: a free function, without a lock: what changes meanwhile is seen as it was
//          before or after, never not at all.
// Errors:  those of the catalog, kCorrupt for a damaged saved row, and what `visit` fails with.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "fs/core/keys.h"
#include "index/catalog.h"

namespace varve {

// Half-open.
struct Moments {
  Moment begin = 0;
  Moment end = 0;

  bool empty() const { return begin >= end; }
};
Moments Common(Moments a, Moments b);

// From the oldest to the present, which ends with the last moment there is. What was not
// there is left out.
Status ForEachState(Catalog& catalog, const std::string& key,
                    const std::function<Status(Moments when, std::string_view row)>& visit);

}  // namespace varve
