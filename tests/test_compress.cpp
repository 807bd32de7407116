// Compressors: what they keep, nested from stage to stage; the probe and the labels it learns from.
#include "test.h"

#include <algorithm>

#include "compress.h"
#include "files.h"
#include "keep_labels.h"
#include "small_model.h"
#include "test_support.h"

using namespace skintern;

namespace {

const std::vector<std::string> kTexts = {"One two three. Four five. Six seven eight nine ten. Eleven.", "", "word",
                                         "No end of a sentence here", "A. B. C. D.\nE. F."};

Bpe byte_tokenizer() {
    BpeTrainConfig config;
    config.vocab_size = 257;
    return Bpe::train({"a"}, config);
}

struct Model {
    std::unique_ptr<Kernels> kernels = make_kernels({});
    Bpe bpe = byte_tokenizer();
    Transformer model;
    Model() : model(*kernels, config(), Train::nothing, no_adapter()) {
        Rng rng(1);
        model.init_weights(rng);
    }
    static ModelConfig config() {
        ModelConfig c = small_config();
        c.vocab = 257;
        c.max_positions = 256;
        return c;
    }
    static LoraConfig no_adapter() {
        LoraConfig lora;
        lora.r = 0;
        return lora;
    }
};

} // namespace

TEST_CASE("every compressor keeps all of a text at 1 and nothing at 0, and less is part of more", "[compress]") {
    Model m;
    Probe probe;
    const size_t C = static_cast<size_t>(m.model.config().channels);
    probe.mean.assign(C, 0);
    probe.deviation.assign(C, 1);
    probe.weight.assign(C, 0.1);
    for (const char* compressor : {"information", "probe", "sentences", "head", "random"}) {
        INFO(compressor);
        const std::vector<RankedText> ranked = rank_texts(compressor, {&m.model, &m.bpe, -1, &probe, 1}, kTexts);
        REQUIRE(ranked.size() == kTexts.size());
        for (size_t i = 0; i < kTexts.size(); i++) {
            REQUIRE(shorten(ranked[i], 1) == kTexts[i]);
            REQUIRE(shorten(ranked[i], 0).empty());
            const size_t words = split_words(kTexts[i]).size();
            std::vector<size_t> kept_before;
            for (const double keep : {0.2, 0.33, 0.5, 0.75, 0.9, 1.0}) {
                std::vector<size_t> kept;
                const int64_t most = static_cast<int64_t>(std::ceil(keep * static_cast<double>(words) - 1e-9));
                for (size_t w = 0; w < words; w++) {
                    if (ranked[i].rank[w] < most) {
                        kept.push_back(w);
                    }
                }
                REQUIRE(static_cast<int64_t>(kept.size()) <= most);
                REQUIRE(std::includes(kept.begin(), kept.end(), kept_before.begin(), kept_before.end()));
                kept_before = kept;
            }
        }
    }
    REQUIRE_THROWS_WITH(rank_texts("foo", {&m.model, &m.bpe, -1, &probe, 1}, kTexts), Catch::Contains("--compressor is \"foo\""));
    REQUIRE_THROWS_WITH(rank_texts("probe", {&m.model, &m.bpe, -1, nullptr, 1}, kTexts), Catch::Contains("needs a probe"));
    probe.weight.push_back(0);
    REQUIRE_THROWS_WITH(rank_texts("probe", {&m.model, &m.bpe, -1, &probe, 1}, kTexts), Catch::Contains("channels"));
}

TEST_CASE("head keeps the beginning, sentences keep whole ones, random depends on its seed", "[compress]") {
    Model m;
    const auto ranked = [&](const char* compressor, uint64_t seed) {
        return rank_texts(compressor, {&m.model, &m.bpe, -1, nullptr, seed}, {kTexts[0]})[0];
    };
    REQUIRE(shorten(ranked("head", 1), 0.5) == "One two three. Four five. Six");
    for (const double keep : {0.2, 0.5, 0.7, 0.95}) {
        const std::string kept = shorten(ranked("sentences", 1), keep);
        REQUIRE((kept.empty() || kept.ends_with(".")));
        for (const char* sentence : {"One two three.", "Four five.", "Six seven eight nine ten.", "Eleven."}) {
            const std::string first = std::string(sentence).substr(0, std::string(sentence).find_first_of(" ."));
            REQUIRE((kept.find(first) != std::string::npos) == (kept.find(sentence) != std::string::npos));
        }
    }
    REQUIRE(ranked("random", 1).rank == ranked("random", 1).rank);
    REQUIRE(ranked("random", 1).rank != ranked("random", 2).rank);
}

TEST_CASE("the probe finds the direction that tells words apart, and says so of new ones", "[compress]") {
    constexpr int64_t C = 6;
    Rng rng(3, "probe");
    const auto draw = [&](int64_t rows, std::vector<float>& features, std::vector<bool>& labels) {
        for (int64_t i = 0; i < rows; i++) {
            const bool keep = rng.uniform() < 0.4;
            labels.push_back(keep);
            for (int64_t c = 0; c < C; c++) { // channel 2 tells, the others are noise of other sizes; channel 5 is constant
                const double noise = (rng.uniform() - 0.5) * static_cast<double>(1 + 100 * (c == 4));
                features.push_back(static_cast<float>(c == 5 ? 7.0 : c == 2 ? noise + (keep ? 1 : -1) : noise));
            }
        }
    };
    std::vector<float> features, held_out;
    std::vector<bool> labels, expected;
    draw(400, features, labels);
    draw(200, held_out, expected);
    const Probe probe = train_probe(features, labels, C);
    for (size_t i = 0; i < expected.size(); i++) {
        REQUIRE((probe.probability(held_out.data() + i * C) > 0.5) == expected[i]);
    }
    REQUIRE(train_probe(features, labels, C).weight == probe.weight);
    REQUIRE_THROWS_WITH(train_probe(features, std::vector<bool>(400, true), C), Catch::Contains("400 of 400 are to be kept"));
    REQUIRE_THROWS_WITH(train_probe(features, {true, false}, C), Catch::Contains("features for 2 labels"));
}

TEST_CASE("a probe is written and read; a damaged file is named by field", "[compress]") {
    const std::string path = "build/probe_test.json";
    const Probe probe = {{1, 2}, {0.5, 3}, {-1, 0.25}, 0.125};
    write_probe(path, probe);
    const Probe read = read_probe(path);
    REQUIRE(read.mean == probe.mean);
    REQUIRE(read.deviation == probe.deviation);
    REQUIRE(read.weight == probe.weight);
    REQUIRE(read.bias == probe.bias);
    const std::pair<const char*, const char*> damaged[] = {
        {"", "not a JSON object"},
        {"[1]", "not a JSON object"},
        {R"({"mean":[1],"deviation":[1],"weight":[1]})", "field bias"},
        {R"({"mean":[1],"deviation":[1],"weight":["x"],"bias":0})", "field weight"},
        {R"({"mean":[],"deviation":[1],"weight":[1],"bias":0})", "field mean"},
        {R"({"mean":[1,2],"deviation":[1],"weight":[1],"bias":0})", "2, 1 and 1 numbers"},
        {R"({"mean":[1],"deviation":[0],"weight":[1],"bias":0})", "not above 0"},
    };
    for (const auto& [text, message] : damaged) {
        write_file(path, text);
        REQUIRE_THROWS_WITH(read_probe(path), Catch::Contains("probe_test.json") && Catch::Contains(message));
    }
}

TEST_CASE("the teacher keeps content words of the procedure and of the facts that are needed", "[compress]") {
    const World world(1);
    const Fact &needed = world.facts[0], &other = world.facts[1];
    Record record;
    record.learning_summary = "Find the price of each thing.";
    record.supplementary_knowledge = needed.sentence + " " + other.sentence;
    record.summary = record.learning_summary + "\n" + record.supplementary_knowledge;
    record.facts_needed = {needed.id};
    std::vector<std::string> kept;
    const std::vector<std::string> words = split_words(record.summary);
    const std::vector<bool> labels = keep_labels(record, world);
    REQUIRE(labels.size() == words.size());
    for (size_t w = 0; w < words.size(); w++) {
        if (labels[w]) {
            kept.push_back(words[w].substr(words[w].find_first_not_of(" \n")));
        }
    }
    REQUIRE(kept == std::vector<std::string>{"Find", "price", "thing.", "price", needed.from, needed.value(), "coins."});
    record.facts_needed.clear(); // a question that needs no fact of the world: the family supplies what it needs
    const std::vector<bool> all = keep_labels(record, world);
    REQUIRE(std::count(all.begin(), all.end(), true) == 3 + 4 + 4);
}
