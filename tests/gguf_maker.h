// gguf_maker.h — writes GGUF files for tests, correct ones and others.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace skintern {

template <typename T>
std::string bytes_of(T value) {
    std::string out(sizeof(T), '\0');
    std::memcpy(out.data(), &value, sizeof(T));
    return out;
}

// The parts of a file as bytes, each of which a test may replace. Numbers of types are GGUF's: u32 4, f32 6, bool 7,
// text 8, array 9, u64 10; tensors F32 0, F16 1, Q8_0 8.
struct GgufMaker {
    std::string magic = "GGUF";
    uint32_t version = 3;
    std::vector<std::string> keys;    // with type and value
    std::vector<std::string> tensors; // name, shape, type, offset
    std::string data;
    uint64_t alignment = 32;

    static std::string text(const std::string& value) { return bytes_of<uint64_t>(value.size()) + value; }

    GgufMaker& key(const std::string& name, uint32_t type, const std::string& value) {
        keys.push_back(text(name) + bytes_of(type) + value);
        return *this;
    }
    GgufMaker& u32(const std::string& name, uint32_t value) { return key(name, 4, bytes_of(value)); }
    GgufMaker& f32(const std::string& name, float value) { return key(name, 6, bytes_of(value)); }
    GgufMaker& str(const std::string& name, const std::string& value) { return key(name, 8, text(value)); }
    GgufMaker& array(const std::string& name, uint32_t type, uint64_t count, const std::string& elements) {
        return key(name, 9, bytes_of(type) + bytes_of(count) + elements);
    }
    GgufMaker& strs(const std::string& name, const std::vector<std::string>& values) {
        std::string elements;
        for (const std::string& value : values) {
            elements += text(value);
        }
        return array(name, 8, values.size(), elements);
    }

    // `shape` row-major; GGUF has the fastest first.
    static std::string info(const std::string& name, const std::vector<uint64_t>& shape, uint32_t type,
                            uint64_t offset) {
        std::string sizes;
        for (size_t i = shape.size(); i-- > 0;) {
            sizes += bytes_of(shape[i]);
        }
        return text(name) + bytes_of(static_cast<uint32_t>(shape.size())) + sizes + bytes_of(type) +
               bytes_of(offset);
    }
    // A tensor behind those that are there.
    GgufMaker& tensor(const std::string& name, const std::vector<uint64_t>& shape, uint32_t type,
                      const std::string& content) {
        data.resize((data.size() + alignment - 1) / alignment * alignment, '\0');
        tensors.push_back(info(name, shape, type, data.size()));
        data += content;
        return *this;
    }
    GgufMaker& floats(const std::string& name, const std::vector<uint64_t>& shape,
                      const std::vector<float>& values) {
        std::string content(values.size() * sizeof(float), '\0');
        std::memcpy(content.data(), values.data(), content.size());
        return tensor(name, shape, 0, content);
    }

    std::string header() const {
        std::string out =
            magic + bytes_of(version) + bytes_of<uint64_t>(tensors.size()) + bytes_of<uint64_t>(keys.size());
        for (const std::string& part : keys) {
            out += part;
        }
        for (const std::string& part : tensors) {
            out += part;
        }
        return out;
    }
    std::string file() const {
        std::string out = header();
        out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
        return out + data;
    }
};

} // namespace skintern
