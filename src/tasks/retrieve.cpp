// retrieve.cpp — see retrieve.h.
#include "tasks/retrieve.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "support/check.h"
#include "support/files.h"

namespace skintern {

namespace {

constexpr double kK1 = 0.9, kB = 0.4;
constexpr int64_t kRetrieved = 3; // passages of a question

std::vector<std::string> words_of(const std::string& text) {
    std::vector<std::string> words;
    bool inside = false;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool upper = byte >= 'A' && byte <= 'Z';
        const bool letter = upper || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte >= 0x80;
        if (letter && !inside) {
            words.emplace_back();
        }
        if (letter) {
            words.back() += upper ? static_cast<char>(byte + ('a' - 'A')) : c;
        }
        inside = letter;
    }
    return words;
}

} // namespace

Retriever::Retriever(std::vector<std::string> passages) : passages_(std::move(passages)) {
    double total = 0;
    for (size_t d = 0; d < passages_.size(); d++) {
        const std::vector<std::string> words = words_of(passages_[d]);
        for (const std::string& word : words) {
            std::vector<Posting>& list = postings_[word];
            if (list.empty() || list.back().passage != d) {
                list.push_back({d, 0});
            }
            list.back().count++;
        }
        length_.push_back(static_cast<double>(words.size()));
        total += length_.back();
    }
    for (double& length : length_) {
        length *= total > 0 ? static_cast<double>(length_.size()) / total : 0.0;
    }
}

std::vector<std::string> Retriever::best(const std::string& query, int64_t n) const {
    std::vector<double> score(passages_.size(), 0.0);
    for (const std::string& word : words_of(query)) {
        const auto it = postings_.find(word);
        if (it == postings_.end()) {
            continue;
        }
        const double holding = static_cast<double>(it->second.size());
        const double idf = std::log(1.0 + (static_cast<double>(passages_.size()) - holding + 0.5) / (holding + 0.5));
        for (const Posting& p : it->second) {
            const double f = static_cast<double>(p.count);
            score[p.passage] += idf * f / (f + kK1 * (1.0 - kB + kB * length_[p.passage]));
        }
    }
    std::vector<size_t> order;
    for (size_t d = 0; d < score.size(); d++) {
        if (score[d] > 0) {
            order.push_back(d);
        }
    }
    std::stable_sort(order.begin(), order.end(), [&score](size_t a, size_t b) { return score[a] > score[b]; });
    std::vector<std::string> out;
    for (size_t i = 0; i < order.size() && static_cast<int64_t>(i) < n; i++) {
        out.push_back(passages_[order[i]]);
    }
    return out;
}

std::vector<std::string> all_passages(const std::vector<Record>& records) {
    std::vector<std::string> passages;
    std::set<std::string> seen;
    for (const Record& record : records) {
        for (const std::string& passage : record.knowledge) {
            if (seen.insert(passage).second) {
                passages.push_back(passage);
            }
        }
    }
    return passages;
}

std::vector<std::string> read_corpus(const std::string& path) {
    std::vector<std::string> passages;
    int64_t number = 0;
    for (const std::string& line : read_lines(path)) {
        number++;
        const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
        CHECK(row.is_object() && row.contains("passage") && row["passage"].is_string(),
              "%s:%lld: not a JSON object with a text \"passage\"", path.c_str(), static_cast<long long>(number));
        passages.push_back(row["passage"].get<std::string>());
    }
    CHECK(!passages.empty(), "%s: holds no passage", path.c_str());
    return passages;
}

void write_corpus(const std::string& path, const std::vector<std::string>& passages) {
    std::string text;
    for (const std::string& passage : passages) {
        text += nlohmann::json{{"passage", passage}}.dump() + "\n";
    }
    write_file(path, text);
}

void retrieve(std::vector<Record>& records, const Retriever& retriever) {
    for (Record& record : records) {
        record.retrieved = retriever.best(record.task_description + " " + record.instruction, kRetrieved);
    }
}

void retrieve_knowledge(std::vector<Record>& records, const Retriever& retriever) {
    for (Record& record : records) {
        if (record.knowledge.empty()) {
            record.knowledge = retriever.best(record.task_description + " " + record.instruction, kRetrieved);
        }
    }
}

} // namespace skintern
