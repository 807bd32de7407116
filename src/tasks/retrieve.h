// retrieve.h — the passages that match a question best, by BM25 (Robertson & Zaragoza 2009, equation 3.15).
//
//   score(d) = sum over the words w of the query   idf(w) f / (f + k1 (1 - b + b |d| / mean |d|))
//   idf(w)   = ln(1 + (D - n + 1/2) / (n + 1/2))
//
// f: how often w stands in passage d; n: how many of the D passages hold it; k1 = 0.9, b = 0.4, as users of Lucene have
// them and KARD (arXiv 2305.18395) does. Words are runs of letters and digits, in lower case. Cost: one pass over the
// postings of the query's words.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "tasks/task.h"

namespace skintern {

class Retriever {
public:
    explicit Retriever(std::vector<std::string> passages);

    // At most `n` passages that share a word with the query, the best first; of equals the earlier one.
    std::vector<std::string> best(const std::string& query, int64_t n) const;

private:
    struct Posting {
        size_t passage;
        int64_t count;
    };
    std::vector<std::string> passages_;
    std::vector<double> length_; // words of a passage, relative to the mean
    std::unordered_map<std::string, std::vector<Posting>> postings_;
};

// Every different passage ("knowledge") of the records, in order.
std::vector<std::string> all_passages(const std::vector<Record>& records);

// The passages of a file: JSONL, a row with "passage" each.
std::vector<std::string> read_corpus(const std::string& path);
void write_corpus(const std::string& path, const std::vector<std::string>& passages);

// Gives each record the three passages that match its task description and question best (Record::retrieved).
void retrieve(std::vector<Record>& records, const Retriever& retriever);

// Gives each record that has no knowledge the three passages that match its task description and question best.
void retrieve_knowledge(std::vector<Record>& records, const Retriever& retriever);

} // namespace skintern
