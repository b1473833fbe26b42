// Opens a store's index, or says what is to be done when it cannot be used.
//
// Errors: kCorrupt, with the store's path and the remedy (varve fsck --rebuild-index): the index
//         is damaged, or it is missing although there are packs.
#pragma once

#include <memory>
#include <string>

#include "index/catalog.h"
#include "store/base/disk.h"

namespace varve {

// `store_path` is the absolute path of `disk`. A missing index of a store without data is made.
Result<std::unique_ptr<KeyValueStore>> OpenStoreIndex(Disk& disk, const std::string& store_path,
                                                      bool read_only);

// Adds the remedy to damage that was met in an index.
Status NameRemedy(const Status& status, const std::string& store_path);

}  // namespace varve
