// The compressors: words, labels, the probe, and what all rankings have in common.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiment/compare_compressors.h"
#include "method/compress.h"
#include "support/files.h"
#include "support/rng.h"
#include "tasks/keep_labels.h"
#include "test.h"
#include "test_support.h"

using namespace skintern;

namespace {

// A token is a byte.
Bpe byte_tokenizer() {
    BpeTrainConfig config;
    config.vocab_size = 257;
    return Bpe::train({"a"}, config);
}

// A model of random weights, and all that a compressor ranks with.
struct Setup {
    std::unique_ptr<Kernels> kernels = make_kernels({});
    Bpe bpe = byte_tokenizer();
    Transformer model;

    Setup() : model(*kernels, config(), Train::everything, no_adapter()) {
        Rng rng(7);
        model.init_weights(rng);
    }
    RankContext context(const Probe* probe = nullptr, uint64_t seed = 1) { return {model, bpe, -1, probe, seed}; }

    static ModelConfig config() {
        ModelConfig config;
        config.layers = 2;
        config.channels = 24;
        config.heads = config.kv_heads = 2;
        config.head_size = 12;
        config.ffn = 32;
        config.vocab = 257;
        return config;
    }
    static LoraConfig no_adapter() {
        LoraConfig lora;
        lora.r = 0;
        return lora;
    }
};

// Sixteen texts of "gold" and "mud" in random order; gold is to be kept.
std::vector<LabelledText> gold_and_mud() {
    std::vector<LabelledText> examples;
    Rng rng(3);
    for (int i = 0; i < 16; i++) {
        LabelledText example;
        example.question = i % 2 == 0 ? "What?" : "Who?";
        for (int w = 0; w < 12; w++) {
            example.keep.push_back(rng.chance(0.4));
            example.text += std::string(w == 0 ? "" : " ") + (example.keep.back() ? "gold" : "mud");
        }
        examples.push_back(example);
    }
    return examples;
}

const std::string kText = "Find the price of each thing.\nThe price of a brask is 7 coins. The price of a dulk is 12 "
                          "coins. Add them!  The mother of Tolmok is Selwen.";

} // namespace

TEST_CASE("words are the text, and sentences end with a point or with their line", "[compress]") {
    const std::vector<std::string> words = split_words("  A b.\nC d! e");
    REQUIRE(words == std::vector<std::string>{"  A", " b.", "\nC", " d!", " e"});
    REQUIRE(sentence_of_words(words) == std::vector<size_t>{0, 0, 1, 1, 2});
    REQUIRE(sentence_of_words(split_words("one\ntwo")) == std::vector<size_t>{0, 1});
    REQUIRE(split_words("").empty());
    REQUIRE(sentence_of_words({}).empty());
    REQUIRE(bare_word(" Coins.") == "coins");
    REQUIRE(bare_word("\n(A),") == "(a)");
    REQUIRE(bare_word(" ...") == "");
    REQUIRE(bare_word("  ") == "");
}

TEST_CASE("a token belongs to the word in which it ends", "[compress]") {
    const Bpe bpe = byte_tokenizer();
    const std::vector<std::string> words = split_words("ab c");
    REQUIRE(word_of_tokens(bpe, words, bpe.encode("ab c")) == std::vector<size_t>{0, 0, 1, 1});
    REQUIRE(word_of_tokens(bpe, {}, {}).empty());
    // One token more than the text has, as SentencePiece's blank: it goes to the first word.
    REQUIRE(word_of_tokens(bpe, words, bpe.encode(" ab c")) == std::vector<size_t>{0, 0, 0, 1, 1});
}

TEST_CASE("the teacher keeps the content words of what the question needs", "[compress]") {
    const World world(1);
    const Fact& needed = world.facts.at(0);
    const Fact& other = world.facts.at(1);
    Record record;
    record.id = "r";
    record.learning_summary = "Find the price.";
    record.supplementary_knowledge = other.sentence + " " + needed.sentence;
    record.summary = record.learning_summary + "\n" + record.supplementary_knowledge;
    record.facts_needed = {needed.id};
    // Find the price. | The price of a OTHER is N coins. | The price of a NEEDED is N coins.
    const std::vector<bool> keep = {true,  false, true,                                            //
                                    false, false, false, false, false, false, false, false,        //
                                    false, true,  false, false, true,  false, true,  true};
    REQUIRE(keep_labels(record, world) == keep);
    std::vector<bool> keys(19);
    keys[15] = keys[17] = true; // the thing and the number
    REQUIRE(key_words(record, world) == keys);

    // Without facts of the world all of the knowledge is for this question.
    record.facts_needed = {};
    record.supplementary_knowledge = "not True is False. Key is (A) and not a box.";
    record.summary = record.learning_summary + "\n" + record.supplementary_knowledge;
    REQUIRE(keep_labels(record, world) == std::vector<bool>{true, false, true,                            //
                                                            true, true, false, true,                      //
                                                            true, false, true, false, true, false, true});
    REQUIRE(label_summaries({record}, world)[0].keep == keep_labels(record, world));

    record.facts_needed = {"price:nothing"};
    REQUIRE_THROWS_WITH(keep_labels(record, world), Contains("price:nothing"));
    record.summary = "Something else.";
    REQUIRE_THROWS_WITH(keep_labels(record, world), Contains("record \"r\""));
}

TEST_CASE("every needed fact of a generated task has key words, and they are to be kept", "[compress]") {
    const World world(1);
    DataConfig data;
    data.tasks = {"world_facts", "world_prices", "world_distances", "world_kinship", "world_calendar", "world_units"};
    data.train = 4;
    data.validation = 0;
    data.test = 4;
    int64_t rows = 0;
    for (const auto& [name, records] : make_splits(data, world)) {
        for (const Record& record : records) {
            const std::vector<bool> keep = keep_labels(record, world), keys = key_words(record, world);
            // Two a fact at least: of whom or what, and the value.
            REQUIRE(std::count(keys.begin(), keys.end(), true) >= 2 * std::ssize(record.facts_needed));
            for (size_t w = 0; w < keys.size(); w++) {
                REQUIRE((keep[w] || !keys[w]));
            }
            rows++;
        }
    }
    REQUIRE(rows > 20);
}

TEST_CASE("hidden() is what the trace calls norm", "[compress]") {
    Setup setup;
    Batch batch;
    batch.add_sequence({5, 6, 7});
    batch.rows = {0, 2};
    std::vector<real> traced;
    setup.model.set_trace([&](const std::string& name, const real* data, const std::vector<int64_t>& shape) {
        if (name == "norm") {
            traced.assign(data, data + shape[0] * shape[1]);
        }
    });
    const std::vector<real> hidden = setup.model.hidden(batch);
    REQUIRE(hidden.size() == 2 * 24);
    REQUIRE(hidden == traced);
}

TEST_CASE("a probe learns which words to keep", "[compress]") {
    Setup setup;
    const std::vector<LabelledText> examples = gold_and_mud();
    const Probe probe = train_probe(setup.model, setup.bpe, -1, examples, false);
    const std::vector<std::vector<double>> fresh =
        keep_probabilities(setup.model, setup.bpe, -1, probe, {"mud gold gold mud mud gold", "", "gold mud"}, {});
    REQUIRE(fresh.size() == 3);
    REQUIRE(fresh[1].empty());
    const std::vector<bool> gold = {false, true, true, false, false, true};
    for (size_t w = 0; w < gold.size(); w++) {
        REQUIRE((fresh[0][w] > 0.5) == gold[w]);
    }
    REQUIRE(shorten(rank_texts("probe", setup.context(&probe), {"mud gold gold mud"})[0], 0.5) == "gold gold");

    // At the minimum the derivative by the bias is zero: the probabilities add up to the number of kept words.
    double sum = 0, kept = 0;
    for (const LabelledText& example : examples) {
        const auto probabilities = keep_probabilities(setup.model, setup.bpe, -1, probe, {example.text}, {});
        sum = std::accumulate(probabilities[0].begin(), probabilities[0].end(), sum);
        kept += static_cast<double>(std::count(example.keep.begin(), example.keep.end(), true));
    }
    REQUIRE(sum == Approx(kept).epsilon(1e-3));

    const Probe again = train_probe(setup.model, setup.bpe, -1, examples, false);
    REQUIRE(again.weight == probe.weight);
    REQUIRE(again.bias == probe.bias);
}

TEST_CASE("a probe reads the question before the text where it was trained to", "[compress]") {
    Setup setup;
    const Probe blind = train_probe(setup.model, setup.bpe, -1, gold_and_mud(), false);
    const Probe reader = train_probe(setup.model, setup.bpe, -1, gold_and_mud(), true);
    const auto score = [&](const Probe& probe, const std::vector<std::string>& questions) {
        return keep_probabilities(setup.model, setup.bpe, -1, probe, {"gold mud"}, questions)[0];
    };
    REQUIRE(score(blind, {"What?"}) == score(blind, {}));
    REQUIRE(score(reader, {"What?"}) != score(reader, {"Who?"}));
    REQUIRE(score(reader, {"What?"}).size() == 2);
    REQUIRE_THROWS_WITH(score(reader, {}), Contains("0 questions for 1 texts"));
}

TEST_CASE("a probe refuses labels it cannot learn from, and another model", "[compress]") {
    Setup setup;
    const auto train = [&](const std::vector<LabelledText>& examples) {
        return train_probe(setup.model, setup.bpe, -1, examples, false);
    };
    REQUIRE_THROWS_WITH(train({{"", "one two", {true}}}), Contains("1 labels for 2 words"));
    REQUIRE_THROWS_WITH(train({{"", "one two", {true, true}}}), Contains("of 2 words 2 are to be kept"));
    REQUIRE_THROWS_WITH(train({}), Contains("of 0 words 0"));
    Probe probe = train(gold_and_mud());
    probe.weight.pop_back();
    REQUIRE_THROWS_WITH(rank_texts("probe", setup.context(&probe), {"a"}), Contains("23 weights"));
}

TEST_CASE("a probe is the same after writing and reading", "[compress]") {
    const TempFolder folder;
    const std::string path = folder / "probe.json";
    const Probe probe{true, {0.1, -1.0 / 3, 1e-300}, 2.5, {"0123456789abcdef", ""}};
    save_probe(path, probe);
    const Probe read = load_probe(path);
    REQUIRE(read.reads_question);
    REQUIRE(read.weight == probe.weight);
    REQUIRE(read.bias == probe.bias);
    REQUIRE(read.base.vectors == probe.base.vectors);
    REQUIRE(read.base.matrices.empty());

    const std::string good = read_file(path);
    const auto refused = [&](const std::string& from, const std::string& to, const std::string& sentence) {
        std::string bad = good;
        bad.replace(bad.find(from), from.size(), to);
        put_file(path, bad);
        const std::string error = error_of([&] { load_probe(path); });
        REQUIRE(error.starts_with(path));
        REQUIRE_THAT(error, Contains(sentence));
    };
    refused("true", "1", "reads_question is number");
    refused("\"bias\"", "\"bies\"", "the field bias is missing");
    refused("2.5", "1e999", "JSON");
    refused("[0.1", "[\"x\"", "weight[0] is string");
    refused("\"0123456789abcdef\"", "7", "base_vectors is number");
    refused("\"weight\":[", "\"weight\":[],\"more\":[", "weight is no list of numbers");
    refused("}", "", "JSON");
}

TEST_CASE("every compressor is nested, keeps at most the share, all at 1 and none at 0", "[compress]") {
    Setup setup;
    const Probe probe = train_probe(setup.model, setup.bpe, -1, gold_and_mud(), false);
    for (const std::string name : kCompressors) {
        INFO(name);
        const std::vector<RankedText> ranked = rank_texts(name, setup.context(&probe), {kText, "", " one", kText});
        REQUIRE(ranked.size() == 4);
        REQUIRE(ranked[0].rank == ranked[3].rank);
        REQUIRE(shorten(ranked[1], 0.5).empty());
        REQUIRE(shorten(ranked[2], 1) == " one");
        REQUIRE(shorten(ranked[0], 1) == kText);
        REQUIRE(shorten(ranked[0], 0).empty());
        const double n = static_cast<double>(split_words(kText).size());
        std::vector<bool> before(ranked[0].words.size(), true);
        for (double keep = 1; keep >= 0; keep -= 0.05) {
            const std::vector<bool> now = kept_words(ranked[0], keep);
            const int64_t count = std::count(now.begin(), now.end(), true);
            const int64_t room = static_cast<int64_t>(std::ceil(keep * n - 1e-9));
            REQUIRE((name == "sentences" ? count <= room : count == room));
            REQUIRE(std::ssize(split_words(shorten(ranked[0], keep))) == count);
            for (size_t w = 0; w < now.size(); w++) {
                REQUIRE((before[w] || !now[w]));
            }
            before = now;
        }
    }
}

TEST_CASE("the rivals do what their names say", "[compress]") {
    Setup setup;
    const auto rank = [&](const std::string& name, uint64_t seed = 1) {
        return rank_texts(name, setup.context(nullptr, seed), {kText})[0];
    };
    REQUIRE(kText.starts_with(shorten(rank("head"), 0.4)));
    REQUIRE(shorten(rank("head"), 0.16) == "Find the price of each");
    REQUIRE(rank("random").rank == rank("random").rank);
    REQUIRE(rank("random").rank != rank("random", 2).rank);
    REQUIRE(rank("information").rank == rank_by_information(setup.model, setup.bpe, -1, {kText})[0].rank);

    // A sentence is kept whole or not at all.
    const RankedText sentences = rank("sentences");
    const std::vector<size_t> sentence = sentence_of_words(sentences.words);
    bool saw_some = false;
    for (const double keep : {0.2, 0.4, 0.6, 0.8}) {
        const std::vector<bool> kept = kept_words(sentences, keep);
        for (size_t w = 1; w < kept.size(); w++) {
            REQUIRE((sentence[w] != sentence[w - 1] || kept[w] == kept[w - 1]));
        }
        saw_some |= std::count(kept.begin(), kept.end(), true) > 0;
    }
    REQUIRE(saw_some);

    REQUIRE_THROWS_WITH(rank("magic"), Contains("probe, information, sentences, random, head"));
    REQUIRE_THROWS_WITH(rank("probe"), Contains("needs a trained probe"));
}

TEST_CASE("what the model could have guessed is dropped first: words by their mean, or sentences whole", "[compress]") {
    // A model that expects "z" after everything: z tells nothing, every other byte as much as the next.
    const auto kernels = make_kernels({});
    const Bpe bpe = byte_tokenizer();
    Transformer model(*kernels, Setup::config(), Train::everything, Setup::no_adapter());
    const int64_t C = model.config().channels, V = model.config().vocab;
    std::fill_n(model.weights().at("model.embed_tokens.weight").data, V * C, real(1));
    std::fill_n(model.weights().at("model.norm.weight").data, C, real(1));
    std::fill_n(model.weights().at("lm_head.weight").data + bpe.encode("z")[0] * C, C, real(1));

    const RankContext context{model, bpe, -1, nullptr, 1};
    const auto words = [&](const std::string& text, double keep) {
        return shorten(rank_texts("information", context, {text})[0], keep);
    };
    REQUIRE(words("zz ab zz cd", 0.5) == "ab cd");
    REQUIRE(words("zz zzqq q", 1.0 / 3) == "q"); // three bytes of five tell something, but two of two

    const RankedText ranked = rank_texts("sentences", context, {"Zero zzzz. zzz zzzz. Four five six."})[0];
    REQUIRE(shorten(ranked, 0.7) == "Zero zzzz. Four five six."); // five words
    REQUIRE(shorten(ranked, 0.56) == "Four five six.");           // four: the second sentence has no room
    REQUIRE(shorten(ranked, 0.42) == "Four five six.");
    REQUIRE(shorten(ranked, 0.28).empty());
}

TEST_CASE("the AUC counts pairs", "[compress]") {
    const RankedText ranked{{"a", " b", " c"}, {0, 2, 1}};
    REQUIRE(ranking_auc(ranked, {true, false, false}) == 1);
    REQUIRE(ranking_auc(ranked, {false, true, false}) == 0);
    REQUIRE(ranking_auc(ranked, {true, true, false}) == 0.5);
    REQUIRE(ranking_auc({{"a", " b"}, {1, 1}}, {true, false}) == 0.5);
    REQUIRE(ranking_auc(ranked, {true, true, true}) == -1);
}

TEST_CASE("no compressor keeps more of the teacher's words than the labels do", "[compress]") {
    Setup setup;
    const World world(1);
    DataConfig data;
    data.tasks = {"world_facts", "navigate"};
    data.train = 4;
    data.validation = 2;
    data.test = 0;
    const auto splits = make_splits(data, world);
    const std::vector<CompressorRow> rows =
        compare_compressors(setup.context(), world, splits.at("train"), splits.at("validation"));
    REQUIRE(rows.size() == std::size(kCompressors) + 2);
    REQUIRE(rows.back().name == "labels");
    REQUIRE(rows.back().auc == 1);
    for (const CompressorRow& row : rows) {
        REQUIRE((row.accuracy >= 0) == row.name.starts_with("probe"));
        for (size_t k = 0; k < kShareCount; k++) {
            REQUIRE(row.labels[k] <= rows.back().labels[k]);
        }
        REQUIRE_THAT(compressor_table(rows), Contains(row.name));
    }
}
