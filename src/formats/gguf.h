// gguf.h — GGUF versions 2 and 3, the single-file format of llama.cpp: metadata by key, then tensors.
//
//   "GGUF" | u32 version | u64 n_tensors | u64 n_kv | n_kv x (key, u32 type, value) | n_tensors x (name, u32 n_dims,
//   n_dims x u64 size (fastest first), u32 type, u64 offset) | padding to general.alignment (32) | data
//
// A string is u64 length and bytes; numbers are little-endian. All of it is checked when the file is opened, and nothing is
// copied: texts and tensors are views of the mapping.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_file.h"

namespace skintern {

class GgufFile {
public:
    // Throws Error with one sentence naming the file, and the key, tensor or field.
    static GgufFile open(const std::string& path);
    // The same from bytes that `owner` keeps; `path` is for messages.
    static GgufFile parse(std::string_view bytes, const std::string& path, std::shared_ptr<const void> owner);

    const std::string& path() const { return path_; }
    const std::vector<StoredTensor>& tensors() const { return tensors_; } // in the order of the file

    // ---- metadata -----------------------------------------------------------------------------------------------
    // Each throws Error naming file and key when the key is missing or of another kind; integers of every width and
    // sign are `integer`, both float types `number`.

    bool has(const std::string& key) const;
    std::string_view text(const std::string& key) const;
    int64_t integer(const std::string& key) const;
    double number(const std::string& key) const; // an integer is a number too
    bool flag(const std::string& key) const;
    std::vector<std::string_view> texts(const std::string& key) const;
    std::vector<int64_t> integers(const std::string& key) const;
    std::vector<double> numbers(const std::string& key) const;

    // Keys in the order of the file, and a value as text (an array as its type and length), for `skintern inspect`.
    std::vector<std::string> keys() const;
    std::string shown_value(const std::string& key) const;

private:
    struct Value {
        uint32_t type = 0; // GGUF's number of the type; of the elements, for an array
        bool array = false;
        uint64_t count = 1;     // elements of an array
        std::string_view bytes; // of a text, of a number, or of all elements of an array
    };
    GgufFile() = default;
    const Value& value(const std::string& key) const;
    const Value& scalar(const std::string& key, bool (*fits)(uint32_t type), const char* expected) const;
    const Value& list(const std::string& key, bool (*fits)(uint32_t type), const char* expected) const;

    std::string path_;
    std::shared_ptr<const void> owner_; // of the bytes that values_ and tensors_ point into
    std::vector<std::string> order_;
    std::map<std::string, Value, std::less<>> values_;
    std::vector<StoredTensor> tensors_;
};

} // namespace skintern
