// prompt.cpp — see prompt.h for the layout.
#include "method/prompt.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/check.h"
#include "support/files.h"
#include "support/rng.h"
#include "tokenizer/chat.h"

namespace skintern {

namespace {

constexpr int64_t kPassages = 3;
constexpr int64_t kPassageWords = 128;

// Joins the parts that are not empty by single spaces.
std::string join_spaced(const std::vector<std::string>& parts) {
    std::string out;
    for (const std::string& part : parts) {
        out += (out.empty() || part.empty() ? "" : " ") + part;
    }
    return out;
}

std::string first_words(const std::string& text, int64_t limit) {
    int64_t words = 0;
    bool in_word = false;
    for (size_t i = 0; i < text.size(); i++) {
        const bool space = text[i] == ' ' || text[i] == '\n' || text[i] == '\t';
        if (in_word && space && ++words == limit) {
            return text.substr(0, i);
        }
        in_word = !space;
    }
    return text;
}

// The prompt behind the question.
std::string end_of(const Context& context) {
    switch (context.ask) {
    case Ask::think: return "\nAnswer: Let's think step by step.";
    case Ask::answer: return "\nAnswer:";
    case Ask::rationale: return "\nRationale:";
    case Ask::explanation: return "\n[Explanation Generation]:";
    case Ask::prediction: return "\n[Answer Prediction]:";
    case Ask::conclusion: return " " + context.rationale + "\n" + kMark;
    }
    CHECK(false, "no such ask");
}

// Word -> weight, of length 1.
using WordVector = std::map<std::string, double>;

// Term frequency times log(rows / rows that have the word), of each question.
std::vector<WordVector> tf_idf(const std::vector<Record>& records) {
    std::vector<WordVector> vectors(records.size());
    std::map<std::string, double> rows_with;
    for (size_t i = 0; i < records.size(); i++) {
        std::istringstream words(records[i].instruction);
        for (std::string word; words >> word;) {
            vectors[i][word] += 1;
        }
        for (const auto& [word, count] : vectors[i]) {
            rows_with[word] += 1;
        }
    }
    for (WordVector& vector : vectors) {
        double squares = 0;
        for (auto& [word, weight] : vector) {
            weight *= std::log(static_cast<double>(records.size()) / rows_with[word]);
            squares += weight * weight;
        }
        for (auto& [word, weight] : vector) {
            weight /= std::sqrt(std::max(squares, 1e-30));
        }
    }
    return vectors;
}

double dot(const WordVector& a, const WordVector& b) {
    double sum = 0;
    for (const auto& [word, weight] : a) {
        const auto it = b.find(word);
        sum += it == b.end() ? 0.0 : weight * it->second;
    }
    return sum;
}

} // namespace

Templates read_templates(const std::string& path) {
    nlohmann::json json;
    try {
        json = nlohmann::json::parse(read_file(path));
    } catch (const nlohmann::json::exception& e) {
        CHECK(false, "%s: not valid JSON (%s)", path.c_str(), e.what());
    }
    CHECK(json.is_object(), "%s: not a JSON object", path.c_str());
    CHECK(!json.contains("tasks") || json["tasks"].is_object(), "%s: field tasks is not an object", path.c_str());
    const auto text = [&](const char* field) {
        CHECK(json.contains(field) && json[field].is_string(), "%s: field %s is missing or not a text", path.c_str(),
              field);
        return json[field].get<std::string>();
    };
    Templates templates = {text("instruction"), text("format"), text("lead"), text("world"), {}};
    const nlohmann::json tasks = json.value("tasks", nlohmann::json::object());
    for (const auto& [task, description] : tasks.items()) {
        CHECK(description.is_string(), "%s: the description of task %s is not a text", path.c_str(), task.c_str());
        templates.tasks[task] = description.get<std::string>();
    }
    return templates;
}

std::string make_opening(const Templates& templates, const Record& record, const Context& context) {
    const std::string& instruction = record.prefix_prompt.empty() ? templates.instruction : record.prefix_prompt;
    const auto described = templates.tasks.find(record.task_name);
    const std::string& description = !record.task_description.empty() || described == templates.tasks.end()
                                         ? record.task_description
                                         : described->second;
    std::string opening = join_spaced({instruction, description, context.ask == Ask::think ? templates.format : ""});
    if (!context.knowledge.empty()) {
        opening += "\n\n" + (context.retrieved ? templates.world : templates.lead) + "\n" + context.knowledge;
    }
    return opening;
}

std::string make_prompt(const Templates& templates, const Record& record, const Context& context) {
    std::string prompt = context.bare ? context.opening : make_opening(templates, record, context);
    for (const Record* shot : context.shots) {
        prompt += "\n\nQuestion: " + shot->instruction + "\nAnswer: " + shot->response;
    }
    return prompt + (prompt.empty() ? "" : "\n\n") + "Question: " + record.instruction + end_of(context);
}

std::string rationale_of(const std::string& response) {
    std::string rationale = response.substr(0, response.rfind(kMark));
    while (!rationale.empty() && (rationale.back() == ' ' || rationale.back() == '\n')) {
        rationale.pop_back();
    }
    return rationale;
}

std::string make_passages(const std::vector<std::string>& passages) {
    std::string out;
    const int64_t n = std::min(kPassages, static_cast<int64_t>(passages.size()));
    for (int64_t i = 0; i < n; i++) {
        out += (i > 0 ? "\n" : "") + std::to_string(i + 1) + ". " +
               first_words(passages[static_cast<size_t>(i)], kPassageWords);
    }
    return out;
}

int64_t Sample::target_tokens() const {
    if (labels.empty()) {
        return static_cast<int64_t>(ids.size()) - prompt_tokens;
    }
    // The first token is predicted by nothing.
    return static_cast<int64_t>(labels.size()) - 1 - std::count(labels.begin() + 1, labels.end(), kNoLabel);
}

Sample make_question(const Bpe& bpe, int32_t bos, const std::string& prompt, bool chat) {
    Sample sample;
    if (bos >= 0 && !chat) {
        sample.ids.push_back(bos);
    }
    const std::vector<int32_t> ids = chat ? bpe.encode(apply_chat(bpe, prompt), true) : bpe.encode(prompt);
    sample.ids.insert(sample.ids.end(), ids.begin(), ids.end());
    sample.prompt_tokens = static_cast<int64_t>(sample.ids.size());
    return sample;
}

Sample make_sample(const Bpe& bpe, int32_t bos, const std::string& prompt, const std::string& response, bool chat) {
    Sample sample = make_question(bpe, bos, prompt, chat);
    const std::vector<int32_t> target = bpe.encode((chat ? "" : " ") + response, {.continues = true});
    sample.ids.insert(sample.ids.end(), target.begin(), target.end());
    sample.ids.push_back(bpe.eos());
    return sample;
}

Shots draw_shots(const std::vector<Record>& train, int64_t k, int64_t block, uint64_t seed) {
    Shots shots;
    shots.of_row.resize(train.size());
    shots.is_shot.assign(train.size(), false);
    if (k == 0) {
        return shots;
    }
    std::map<std::string, std::vector<size_t>> rows_of; // family -> its rows
    for (size_t i = 0; i < train.size(); i++) {
        rows_of[train[i].task_name].push_back(i);
    }
    for (const auto& [family, rows] : rows_of) {
        Rng rng(seed, "shots " + family);
        for (size_t begin = 0; begin < rows.size(); begin += static_cast<size_t>(block)) {
            const size_t end = std::min(rows.size(), begin + static_cast<size_t>(block));
            CHECK(end - begin > static_cast<size_t>(k),
                  "%s has %zu training rows in a block: %lld examples leave none to train on, use fewer --shots",
                  family.c_str(), end - begin, static_cast<long long>(k));
            const std::vector<size_t> chosen =
                rng.sample(std::vector<size_t>(rows.begin() + static_cast<int64_t>(begin),
                                               rows.begin() + static_cast<int64_t>(end)),
                           static_cast<size_t>(k));
            for (const size_t c : chosen) {
                shots.is_shot[c] = true;
            }
            for (size_t i = begin; i < end; i++) {
                for (const size_t c : chosen) {
                    if (train[c].instruction != train[rows[i]].instruction) { // never the question itself
                        shots.of_row[rows[i]].push_back(&train[c]);
                    }
                }
            }
        }
    }
    return shots;
}

Shots similar_shots(const std::vector<Record>& train, int64_t k, int64_t nearest, uint64_t seed) {
    Shots shots;
    shots.of_row.resize(train.size());
    shots.is_shot.assign(train.size(), false);
    const std::vector<WordVector> vectors = k == 0 ? std::vector<WordVector>() : tf_idf(train);
    for (size_t i = 0; i < vectors.size(); i++) {
        std::vector<std::pair<double, size_t>> near; // minus the cosine, so that ties keep the order of rows
        for (size_t j = 0; j < train.size(); j++) {
            if (train[j].task_name == train[i].task_name && train[j].instruction != train[i].instruction) {
                near.emplace_back(-dot(vectors[i], vectors[j]), j);
            }
        }
        CHECK(near.size() >= static_cast<size_t>(k), "%s has %zu other questions, too few for %lld examples: use fewer "
              "--shots", train[i].task_name.c_str(), near.size(), static_cast<long long>(k));
        std::sort(near.begin(), near.end());
        near.resize(std::min(near.size(), static_cast<size_t>(std::max(nearest, k))));
        Rng rng(seed + i, "similar shots");
        std::vector<std::pair<double, size_t>> chosen = rng.sample(near, static_cast<size_t>(k));
        std::sort(chosen.begin(), chosen.end());
        for (const auto& [distance, j] : chosen) {
            shots.of_row[i].push_back(&train[j]);
        }
    }
    return shots;
}

std::vector<std::vector<const Record*>> evaluation_shots(const std::vector<Record>& train,
                                                         const std::vector<Record>& records, int64_t k, uint64_t seed) {
    std::map<std::string, std::vector<const Record*>> rows_of, drawn; // by family
    std::vector<const Record*> all;
    for (const Record& record : train) {
        rows_of[record.task_name].push_back(&record);
        all.push_back(&record);
    }
    CHECK(all.size() >= static_cast<size_t>(k), "%zu training rows are too few for %lld examples: use fewer --shots",
          all.size(), static_cast<long long>(k));
    std::vector<std::vector<const Record*>> shots;
    for (const Record& record : records) {
        if (!drawn.contains(record.task_name)) {
            const std::vector<const Record*>& own = rows_of[record.task_name];
            Rng rng(seed, "examples " + record.task_name);
            drawn[record.task_name] = rng.sample(own.size() < static_cast<size_t>(k) ? all : own, static_cast<size_t>(k));
        }
        shots.push_back(drawn[record.task_name]);
    }
    return shots;
}

} // namespace skintern
