// settings_file.cpp — see settings_file.h.
#include "support/settings_file.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

#include "support/check.h"
#include "support/files.h"
#include "support/strict_json.h"

namespace skintern {

void check_settings(const std::string& path, const nlohmann::ordered_json& now, const char* what) {
    const nlohmann::json before = parse_json_object(read_file(path), path), after = now;
    const auto check_same = [&](const std::string& key) {
        const nlohmann::json *was = find_field(before, key), *is = find_field(after, key);
        const auto text = [](const nlohmann::json* value) { return value != nullptr ? shown(value->dump()) : "nothing"; };
        CHECK(was != nullptr && is != nullptr && *was == *is,
              "%s: %s was started with %s = %s, not %s; resume it with the settings it has, or choose another --out",
              path.c_str(), what, key.c_str(), text(was).c_str(), text(is).c_str());
    };
    for (const auto& [key, value] : now.items()) {
        check_same(key);
    }
    for (const auto& [key, value] : before.items()) { // and what is asked for no longer
        check_same(key);
    }
}

std::string fingerprint(const std::string& path) {
    constexpr size_t kHead = size_t{1} << 20;
    if (path.empty()) {
        return "";
    }
    std::vector<std::filesystem::path> files = {path};
    if (std::filesystem::is_directory(path)) {
        files.clear();
        for (const auto& entry : std::filesystem::directory_iterator(path)) {
            const std::string ending = entry.path().extension().string();
            if (entry.is_regular_file() && (ending == ".json" || ending == ".safetensors" || ending == ".gguf")) {
                files.push_back(entry.path());
            }
        }
        std::sort(files.begin(), files.end());
    }
    uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    const auto add = [&](const std::string& bytes) {
        for (const char c : bytes) {
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        }
    };
    for (const std::filesystem::path& file : files) {
        std::string head(kHead, '\0');
        std::ifstream in(file, std::ios::binary);
        CHECK(in.good(), "%s: cannot be opened", file.c_str());
        in.read(head.data(), static_cast<std::streamsize>(head.size()));
        head.resize(static_cast<size_t>(in.gcount()));
        add(format("%s %ju ", file.filename().c_str(), static_cast<uintmax_t>(std::filesystem::file_size(file))));
        add(head);
    }
    return format("%016jx", static_cast<uintmax_t>(hash));
}

} // namespace skintern
