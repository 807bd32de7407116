// test_teacher_world.cpp — the invented world, its families against an independent reader, and the splits.
#include "test_support.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "check_world.h"
#include "tasks/teacher.h"

using namespace skintern;

namespace {

const std::vector<std::string> kSplits = {"train", "validation", "test", "longer", "unseen", "reworded"};

std::vector<std::string> sentences_of(const World& world) {
    std::vector<std::string> out;
    for (const Fact& fact : world.facts) {
        out.push_back(fact.sentence);
    }
    return out;
}

std::vector<std::string> sentences_of(const World& world, const std::vector<std::string>& ids) {
    std::vector<std::string> out;
    for (const std::string& id : ids) {
        out.push_back(world.fact(id).sentence);
    }
    return out;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

int64_t n_words(const std::string& text) {
    return 1 + std::count(text.begin(), text.end(), ' ');
}

// Every combination of length, wording and coverage that a family can be asked for.
struct Variant {
    Length length;
    Wording wording;
    bool need_uncovered;
};

std::vector<Variant> all_variants() {
    std::vector<Variant> out;
    for (const Length length : {Length::normal, Length::longer}) {
        for (const Wording wording : {Wording::usual, Wording::reworded}) {
            out.push_back({length, wording, false});
            out.push_back({length, wording, true});
        }
    }
    return out;
}

template <class Use>
void for_instances(const World& world, int64_t count, const Use& use) {
    for (const Family& family : world_families()) {
        for (const Variant& variant : all_variants()) {
            Rng rng(5, family.name);
            for (int64_t i = 0; i < count; i++) {
                use(family, variant,
                    family.make(rng, world, variant.length, variant.wording, variant.need_uncovered));
            }
        }
    }
}

// What two questions have in common when they count as the same: their letters, digits and signs.
std::string normalised(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (std::isalnum(static_cast<unsigned char>(c)) || contains("()[]{}<>+-*/=", std::string(1, c))) {
            out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        }
    }
    return out;
}

std::vector<std::string> names_of_world_families() {
    std::vector<std::string> out;
    for (const Family& family : world_families()) {
        out.push_back(family.name);
    }
    return out;
}

DataConfig world_config(int64_t train = 48) {
    DataConfig config;
    config.tasks = names_of_world_families();
    config.train = train;
    return config;
}

std::vector<std::string> texts(const std::vector<Record>& records) {
    std::vector<std::string> out;
    for (const Record& r : records) {
        out.push_back(r.id + "|" + r.instruction + "|" + r.response + "|" + r.summary + "|" + r.output);
    }
    return out;
}

} // namespace

TEST_CASE("a world has one sentence a fact, names of its own, and seven tenths of each table covered",
          "[world]") {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const World world(seed);
        std::map<std::string, int64_t> all;
        std::map<std::string, int64_t> covered;
        std::set<std::string> ids;
        for (const Fact& fact : world.facts) {
            REQUIRE(fact.sentence.rfind("The " + fact.about + " is " + fact.value(), 0) == 0);
            REQUIRE(fact.id.rfind(fact.relation + ":" + fact.from, 0) == 0);
            REQUIRE(ids.insert(fact.id).second);
            REQUIRE((fact.relation != "place" || fact.covered));
            all[fact.table] += fact.relation != "place" ? 1 : 0;
            covered[fact.table] += fact.covered && fact.relation != "place" ? 1 : 0;
        }
        REQUIRE(all ==
                std::map<std::string, int64_t>{
                    {"prices", 20}, {"distances", 21}, {"kinship", 48}, {"calendar", 16}, {"units", 12}});
        for (const auto& [table, count] : all) {
            REQUIRE(std::abs(static_cast<double>(covered[table]) - 0.7 * static_cast<double>(count)) <= 0.5);
        }
        REQUIRE_NOTHROW(WorldReader(sentences_of(world))); // no two sentences about the same
    }
    REQUIRE_THROWS_WITH(World(1).fact("price:gold"), "the world has no fact 'price:gold'");
}

TEST_CASE("the same seed gives the same world and another seed another", "[world]") {
    REQUIRE(sentences_of(World(3)) == sentences_of(World(3)));
    const std::vector<std::string> a = sentences_of(World(3));
    const std::vector<std::string> b = sentences_of(World(4));
    const auto shared = std::count_if(a.begin(), a.end(), [&](const std::string& sentence) {
        return std::find(b.begin(), b.end(), sentence) != b.end();
    });
    REQUIRE(shared <= 2); // "The place of Tolmok is 3." may come about twice
}

TEST_CASE("a reader of the sentences finds the answers and needed facts of every family", "[world]") {
    const World world(7);
    const WorldReader reader(sentences_of(world));
    for_instances(world, 200, [&](const Family& family, const Variant& variant, const Record& record) {
        INFO(record.instruction);
        const WorldReader::Answer answer = reader.answer(family.name, record.instruction);
        REQUIRE(record.output == answer.text);
        REQUIRE(sentences_of(world, record.facts_needed) == answer.sentences);
        REQUIRE(record.facts_stated == record.facts_needed);
        const bool uncovered = std::any_of(record.facts_needed.begin(), record.facts_needed.end(),
                                           [&](const std::string& id) { return !world.fact(id).covered; });
        REQUIRE(uncovered == variant.need_uncovered);
        REQUIRE(record.coverage == (uncovered ? "uncovered" : "covered"));
    });
}

TEST_CASE("a response states the facts it needs, then computes, and ends with the answer", "[world]") {
    const World world(8);
    for_instances(world, 60, [&](const Family& family, const Variant& variant, const Record& record) {
        INFO(record.instruction << "\n" << record.response);
        std::string stated;
        for (const std::string& sentence : sentences_of(world, record.facts_stated)) {
            stated += (stated.empty() ? "" : " ") + sentence;
        }
        REQUIRE(record.response.rfind(stated, 0) == 0);
        REQUIRE(ends_with(record.response, " Therefore, the answer is " + record.output + "."));
        REQUIRE(record.task_name == family.name);
        REQUIRE(record.task_description == family.description);
        REQUIRE(n_words(record.learning_summary) <= 25);
        if (variant.length == Length::normal) {
            REQUIRE(n_words(record.instruction) <= 30);
            REQUIRE(n_words(record.response) <= 45);
        }
    });
}

TEST_CASE("knowledge holds the needed facts and two or three others of their table", "[world]") {
    const World world(9);
    for_instances(world, 60, [&](const Family&, const Variant&, const Record& record) {
        INFO(record.instruction << "\n" << record.supplementary_knowledge);
        int64_t others = 0;
        for (const Fact& fact : world.facts) {
            const bool needed =
                std::count(record.facts_needed.begin(), record.facts_needed.end(), fact.id) > 0;
            const bool told = contains(record.supplementary_knowledge, fact.sentence);
            REQUIRE((!needed || told));
            others += told && !needed ? 1 : 0;
            REQUIRE((!told || fact.table == world.fact(record.facts_needed.front()).table));
        }
        REQUIRE((others == 2 || others == 3));
        REQUIRE(record.summary == record.learning_summary + "\n" + record.supplementary_knowledge);
        REQUIRE(contains(record.knowledge.back(), " . " + record.supplementary_knowledge));
    });
}

TEST_CASE("longer questions need more facts than any normal one, and the procedure is the same", "[world]") {
    const World world(10);
    std::map<std::string, size_t> most_normal;
    std::map<std::string, size_t> fewest_longer;
    std::map<std::string, std::string> learning;
    for_instances(world, 100, [&](const Family& family, const Variant& variant, const Record& record) {
        // Feasts count, not the places of their months: those of a longer question may fall in the same two.
        const bool feasts = std::string(family.name) == "world_calendar";
        const auto n = static_cast<size_t>(
            std::count_if(record.facts_needed.begin(), record.facts_needed.end(), [&](const std::string& id) {
                return !feasts || world.fact(id).relation == "month";
            }));
        if (variant.length == Length::normal) {
            most_normal[family.name] = std::max(most_normal[family.name], n);
        } else {
            fewest_longer.emplace(family.name, n);
            fewest_longer[family.name] = std::min(fewest_longer[family.name], n);
        }
        learning.emplace(family.name, record.learning_summary);
        REQUIRE(learning[family.name] == record.learning_summary);
    });
    REQUIRE(most_normal.size() == world_families().size());
    for (const auto& [name, n] : most_normal) {
        INFO(name);
        REQUIRE(fewest_longer[name] > n);
    }
}

TEST_CASE("no answer of a world family can be guessed", "[world]") {
    const World world(11);
    for (const Family& family : world_families()) {
        std::map<std::string, int64_t> answers;
        Rng rng(1);
        for (int64_t i = 0; i < 400; i++) {
            answers[family.make(rng, world, Length::normal, Wording::usual, i % 2 == 1).output]++;
        }
        for (const auto& [answer, count] : answers) {
            INFO(family.name << " " << answer);
            REQUIRE(count <= 80); // the most frequent answer is right once in five
        }
    }
}

// -----------------------------------------------------------------------------------------------------------
// Splits

TEST_CASE("splits have the rows they should, with their ids", "[splits]") {
    const World world(1);
    const DataConfig config = world_config();
    const auto splits = make_splits(config, world);
    REQUIRE(splits.size() == kSplits.size() + 1); // and fresh, which is empty
    REQUIRE(splits.at("fresh").empty());
    const std::map<std::string, size_t> rows = {{"train", 5 * 48},  {"validation", 5 * 4}, {"test", 5 * 24},
                                                {"longer", 5 * 24}, {"reworded", 5 * 24},  {"unseen", 24}};
    std::set<std::string> ids;
    for (const std::string& split : kSplits) {
        REQUIRE(splits.at(split).size() == rows.at(split));
        for (const Record& record : splits.at(split)) {
            REQUIRE(record.split == split);
            REQUIRE(record.id.rfind(split + "-" + record.task_name + "-0", 0) == 0);
            REQUIRE(ids.insert(record.id).second);
            REQUIRE((record.task_name == "world_units") == (split == "unseen"));
        }
    }
    REQUIRE(splits.at("train").front().id == "train-world_facts-0001");
}

TEST_CASE("half of the test rows need uncovered facts, and coverage is what training states", "[splits]") {
    const World world(2);
    const auto splits = make_splits(world_config(), world);
    std::set<std::string> stated;
    for (const Record& record : splits.at("train")) {
        stated.insert(record.facts_stated.begin(), record.facts_stated.end());
    }
    for (const std::string& split : kSplits) {
        std::map<std::string, std::pair<int64_t, int64_t>> covered_of_all;
        for (const Record& record : splits.at(split)) {
            const bool all = std::all_of(record.facts_needed.begin(), record.facts_needed.end(),
                                         [&](const std::string& id) { return stated.contains(id); });
            REQUIRE(record.coverage == (all ? "covered" : "uncovered"));
            covered_of_all[record.task_name].first += all ? 1 : 0;
            covered_of_all[record.task_name].second++;
        }
        for (const auto& [task, counts] : covered_of_all) {
            INFO(split << " " << task);
            const bool trained = split == "train" || split == "validation";
            REQUIRE(counts.first * (trained ? 1 : 2) == counts.second);
        }
    }
}

TEST_CASE("a fact that few training rows leave unstated makes its questions uncovered", "[splits]") {
    const World world(2);
    DataConfig config = world_config(3);
    config.tasks = {"world_prices", "world_units"};
    const auto splits = make_splits(config, world);
    int64_t covered = 0;
    for (const Record& record : splits.at("test")) {
        covered += record.coverage == "covered" ? 1 : 0;
    }
    REQUIRE(covered < 12); // three rows state six of the fourteen prices
    for (const Record& record : splits.at("unseen")) {
        REQUIRE(record.coverage == "uncovered"); // no row of these families states a unit
    }
}

TEST_CASE("24 training rows a family state every covered fact and no uncovered one", "[splits]") {
    for (uint64_t seed = 1; seed <= 8; seed++) {
        const World world(seed);
        DataConfig config = world_config(24);
        config.seed = seed;
        std::string responses;
        const auto splits = make_splits(config, world);
        for (const Record& record : splits.at("train")) {
            responses += record.response + "\n";
        }
        for (const Fact& fact : world.facts) {
            INFO("seed " << seed << ": " << fact.sentence);
            REQUIRE(contains(responses, fact.sentence) == fact.covered);
            REQUIRE(contains(responses, "The " + fact.about + " is ") == fact.covered);
        }
    }
}

TEST_CASE("every uncovered fact stands in the knowledge of several training rows", "[splits]") {
    const World world(1);
    const auto splits = make_splits(world_config(), world);
    for (const Fact& fact : world.facts) {
        int64_t rows = 0;
        for (const Record& record : splits.at("train")) {
            rows += contains(record.summary, fact.sentence) ? 1 : 0;
        }
        INFO(fact.sentence);
        REQUIRE((fact.covered || rows >= 3));
    }
}

TEST_CASE("no question stands twice, in one split or in two", "[splits]") {
    const World world(1);
    const auto splits = make_splits(DataConfig{}, world); // all families
    std::map<std::string, std::string> seen;              // normalised question -> id
    for (const std::string& split : kSplits) {
        for (const Record& record : splits.at(split)) {
            const auto [place, is_new] = seen.emplace(normalised(record.instruction), record.id);
            INFO(record.id << " and " << place->second << ": " << record.instruction);
            REQUIRE(is_new);
        }
    }
    REQUIRE(seen.size() >= 240 + 20 + 3 * 120 + 24);
}

TEST_CASE("fresh questions are new ones, half of them about uncovered facts, and change no other split", "[splits]") {
    const World world(1);
    DataConfig config = world_config();
    const auto without = make_splits(config, world);
    config.fresh = 24;
    auto with = make_splits(config, world);
    std::set<std::string> questions;
    std::set<std::string> tested; // facts and answer
    for (const std::string& split : kSplits) {
        REQUIRE(texts(with.at(split)) == texts(without.at(split)));
        for (const Record& record : with.at(split)) {
            questions.insert(normalised(record.instruction));
            if (split != "train" && record.facts_needed.size() > 1) {
                std::string content = record.output;
                for (const std::string& id : record.facts_needed) {
                    content += " " + id;
                }
                tested.insert(content);
            }
        }
    }
    REQUIRE(with.at("fresh").size() == 5 * 24);
    int64_t uncovered = 0;
    for (const Record& record : with.at("fresh")) {
        REQUIRE(questions.insert(normalised(record.instruction)).second);
        std::string content = record.output;
        for (const std::string& id : record.facts_needed) {
            content += " " + id;
        }
        REQUIRE(!tested.contains(content));
        uncovered += record.coverage == "uncovered";
    }
    REQUIRE(uncovered == 5 * 12);
    config.tasks = {"world_facts"};
    config.fresh = 1000; // more than there are: as many as there are
    REQUIRE(make_splits(config, world).at("fresh").size() > 20);
}

TEST_CASE("training never puts the same facts together to the same answer as a test row", "[splits]") {
    const auto content = [](const Record& record) {
        std::string out = record.output; // in whatever order the facts are used
        for (const std::string& id : std::set<std::string>(record.facts_needed.begin(), record.facts_needed.end())) {
            out += " " + id;
        }
        return out;
    };
    const auto check = [&](const std::map<std::string, std::vector<Record>>& splits) {
        std::set<std::string> trained;
        for (const Record& record : splits.at("train")) {
            trained.insert(content(record));
        }
        for (const char* split : {"validation", "test", "longer", "reworded"}) {
            for (const Record& record : splits.at(split)) {
                INFO(record.id << ": " << record.instruction);
                REQUIRE((record.facts_needed.size() < 2 || !trained.contains(content(record))));
            }
        }
    };
    check(make_splits(world_config(), World(3)));
    // "5 wordoks and 5 balveks" and "5 balveks and 5 wordoks" are one question; this seed drew both, one of them for training.
    DataConfig prices;
    prices.seed = 6;
    prices.tasks = {"world_prices"};
    prices.train = 64, prices.validation = 8, prices.test = 16;
    check(make_splits(prices, World(6)));
}

TEST_CASE("rows depend on seed, family and split alone", "[splits]") {
    const World world(4);
    const auto all = make_splits(world_config(), world);
    REQUIRE(texts(make_splits(world_config(), world).at("train")) == texts(all.at("train")));

    DataConfig one = world_config();
    one.tasks = {"world_kinship"};
    for (const auto& [split, records] : make_splits(one, world)) {
        std::vector<Record> same_task = all.at(split);
        std::erase_if(same_task, [](const Record& record) { return record.task_name != "world_kinship"; });
        REQUIRE(texts(records) == texts(same_task));
    }

    DataConfig other = one;
    other.seed = 99;
    REQUIRE(texts(make_splits(other, world).at("train")) != texts(make_splits(one, world).at("train")));
}

TEST_CASE("more training rows change no test row and keep the earlier ones", "[splits]") {
    const World world(4);
    DataConfig small = world_config(12);
    DataConfig large = world_config(64);
    small.tasks = large.tasks = {"world_kinship"};
    const auto few = make_splits(small, world);
    const auto many = make_splits(large, world);
    for (const char* split : {"validation", "test", "longer", "reworded"}) {
        REQUIRE(texts(few.at(split)) == texts(many.at(split)));
    }
    std::vector<Record> beginning = many.at("train");
    beginning.resize(12);
    REQUIRE(few.at("train").size() == 12);
    REQUIRE(texts(few.at("train")) == texts(beginning));
}

TEST_CASE("a wrong data configuration is named", "[splits]") {
    const World world(1);
    DataConfig config = world_config();
    config.tasks = {"world_prices", "world_weather"};
    REQUIRE_THROWS_WITH(make_splits(config, world),
                        StartsWith("tasks names 'world_weather', which is no task family; known are ") &&
                            Contains("world_facts, world_prices, world_distances"));
    config.tasks = {"world_prices", "world_prices"};
    REQUIRE_THROWS_WITH(make_splits(config, world), "tasks names 'world_prices' twice");
    config = world_config(-1);
    REQUIRE_THROWS_WITH(make_splits(config, world),
                        "train is -1, but a split has no negative number of rows");
    config = world_config();
    config.tasks = {"world_units"}; // 12 conversions, 2..9 of each, in 2 wordings
    config.test = 300;
    REQUIRE_THROWS_WITH(make_splits(config, world),
                        StartsWith("family world_units has too few different questions for split unseen: "));
    config.tasks = {"world_kinship"};
    config.test = 0;
    config.train = 0;
    config.validation = 0;
    REQUIRE(make_splits(config, world).at("train").empty());
}
