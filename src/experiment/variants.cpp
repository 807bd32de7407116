// variants.cpp — see variants.h.
#include "experiment/variants.h"

#include <algorithm>

#include "method/compress.h"
#include "support/check.h"

namespace skintern {

namespace {

// The first `count` words of a text, which begins again when it has fewer.
std::string words_of(const std::string& text, size_t count) {
    const std::vector<std::string> words = split_words(text);
    std::string out;
    for (size_t w = 0; w < count && !words.empty(); w++) {
        out += (w > 0 && w % words.size() == 0 ? " " : "") + words[w % words.size()];
    }
    return out;
}

std::string shuffled_words(const std::string& text, Rng& rng) {
    std::vector<std::string> words = split_words(text);
    for (std::string& word : words) {
        word.erase(0, word.find_first_not_of(" \n"));
    }
    rng.shuffle(words);
    std::string out;
    for (const std::string& word : words) {
        out += (out.empty() ? "" : " ") + word;
    }
    return out;
}

void vary_knowledge(std::vector<Record>& train, const std::string& knowledge, uint64_t seed) {
    if (knowledge == "full") {
        return;
    }
    const std::vector<Record> before = train;
    Rng rng(seed, "knowledge");
    for (Record& record : train) {
        if (knowledge == "no-summary") {
            record.summary = record.supplementary_knowledge;
        } else if (knowledge == "no-supplement") {
            record.summary = record.learning_summary;
        } else if (knowledge == "shuffled") {
            record.summary = shuffled_words(record.summary, rng);
        } else {
            CHECK(knowledge == "placebo", "--knowledge is \"%s\": known are full, no-summary, no-supplement, placebo, "
                  "shuffled", knowledge.c_str());
            std::vector<const Record*> others;
            for (const Record& other : before) {
                if (other.task_name != record.task_name) {
                    others.push_back(&other);
                }
            }
            CHECK(!others.empty(), "--knowledge placebo takes the knowledge of another family, and there is one only");
            record.summary = words_of(rng.pick(others)->summary, split_words(record.summary).size());
        }
    }
}

void erase_all(std::string& text, const std::string& sentence) {
    for (size_t at = text.find(sentence); at != std::string::npos; at = text.find(sentence)) {
        text.erase(at, sentence.size() + (text.compare(at + sentence.size(), 1, " ") == 0 ? 1 : 0));
    }
}

// The world with another value for one fact: another number, or the name that another fact of the relation has.
World with_wrong_fact(const World& world, const std::string& id, Rng& rng) {
    World wrong = world;
    Fact& fact = *std::find_if(wrong.facts.begin(), wrong.facts.end(), [&](const Fact& f) { return f.id == id; });
    const size_t value_at = ("The " + fact.about + " is ").size();
    const std::string behind = fact.sentence.substr(value_at + fact.value().size()); // " coins."
    if (fact.number != 0) {
        const int64_t before = fact.number;
        while (fact.number == before) {
            fact.number = rng.between(2, 19);
        }
    } else {
        std::vector<std::string> names;
        for (const Fact& other : world.facts) {
            if (other.relation == fact.relation && other.to != fact.to) {
                names.push_back(other.to);
            }
        }
        fact.to = rng.pick(names);
    }
    fact.sentence = fact.sentence.substr(0, value_at) + fact.value() + behind;
    return wrong;
}

const Family& family_of(const Record& record) {
    const std::vector<Family>& all = families();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Family& family) { return family.name == record.task_name; });
    CHECK(found != all.end(), "%s: there is no family %s", record.id.c_str(), record.task_name.c_str());
    return *found;
}

// The response of a teacher who errs about one of the facts that the question needs; false when the question itself would
// be another one.
bool make_wrong(Record& record, const World& world, uint64_t data_seed, Rng& rng) {
    std::vector<std::string> ids = record.facts_needed;
    rng.shuffle(ids);
    for (const std::string& id : ids) {
        const World wrong_world = with_wrong_fact(world, id, rng);
        Rng same(data_seed, record.drawn);
        const Record wrong = family_of(record).make(same, wrong_world, Length::normal, Wording::usual, false);
        if (wrong.instruction == record.instruction && wrong.response != record.response) {
            record.response = wrong.response;
            record.output = wrong.output;
            return true;
        }
    }
    return false;
}

} // namespace

std::vector<Record> vary(std::vector<Record> train, const Variant& variant, const World& world, uint64_t data_seed,
                         uint64_t seed) {
    CHECK(variant.rationales == "stated" || variant.rationales == "implicit",
          "--rationales is \"%s\": known are stated, implicit", variant.rationales.c_str());
    CHECK(variant.wrong >= 0 && variant.wrong <= 1, "--wrong is %g: it must be from 0 to 1", variant.wrong);
    if (variant.wrong > 0) {
        Rng rng(seed, "wrong");
        std::vector<size_t> rows;
        for (size_t i = 0; i < train.size(); i++) {
            if (!train[i].facts_needed.empty()) {
                rows.push_back(i);
            }
        }
        rng.shuffle(rows);
        const double wanted = variant.wrong * static_cast<double>(rows.size());
        int64_t made = 0;
        for (const size_t i : rows) {
            made += static_cast<double>(made) + 0.5 < wanted && make_wrong(train[i], world, data_seed, rng);
        }
        CHECK(static_cast<double>(made) + 0.5 >= wanted, "--wrong is %g, but only %lld of %zu rows with facts can be wrong",
              variant.wrong, static_cast<long long>(made), rows.size());
    }
    if (variant.rationales == "implicit") {
        for (Record& record : train) {
            for (const std::string& id : record.facts_stated) {
                erase_all(record.response, world.fact(id).sentence);
            }
        }
    }
    vary_knowledge(train, variant.knowledge, seed);
    return train;
}

} // namespace skintern
