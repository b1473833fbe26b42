// What the zip files have in common that torch.save and TorchScript write.
//
// They are zips with stored entries below one folder: FOLDER/data.pkl, FOLDER/version,
// FOLDER/data/0, …; zip64 where it is needed. Such a file is whole when the record
// at its end is there and the directory it names lies in the file and names entries
// that do (CheckTorchZip(), completeness.h).
//
// Source: https://pytorch.org/docs/stable/notes/serialization.html
//
// Threads: free functions.
#pragma once

#include <string_view>

namespace varve {

// `name` without its one folder; nothing when it has none.
std::string_view BelowZipFolder(std::string_view name);

}  // namespace varve
