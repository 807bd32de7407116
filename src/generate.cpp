// generate.cpp — see generate.h.
#include "generate.h"

#include <algorithm>

#include "check.h"

namespace skintern {

namespace {

constexpr int64_t kPrefillTokens = 4096; // prompt rows that may join one pass

struct Slot {
    int64_t prompt = -1;  // which prompt, -1: free
    int64_t length = 0;   // positions in the cache
    int32_t next = 0;     // the token to feed
};

} // namespace

std::vector<Generation> generate(Transformer& model, const std::vector<std::vector<int32_t>>& prompts,
                                 const GenerateConfig& config) {
    CHECK(config.max_new_tokens >= 1 && config.batch_size >= 1, "generation needs room for at least one token");
    int64_t longest = 0;
    for (const std::vector<int32_t>& prompt : prompts) {
        CHECK(!prompt.empty(), "a prompt is empty: generation needs at least one token to start from");
        longest = std::max(longest, static_cast<int64_t>(prompt.size()));
    }
    const int64_t n_prompts = static_cast<int64_t>(prompts.size());
    std::vector<Generation> out(prompts.size());
    if (prompts.empty()) {
        return out;
    }
    std::vector<Slot> slots(static_cast<size_t>(std::min(config.batch_size, n_prompts)));
    model.start_cache(static_cast<int64_t>(slots.size()), longest + config.max_new_tokens);

    int64_t waiting = 0, finished = 0;
    while (finished < n_prompts) {
        Batch batch;
        std::vector<int32_t> slot_of, length_of; // of each sequence of the batch
        for (size_t s = 0; s < slots.size(); s++) {
            Slot& slot = slots[s];
            if (slot.prompt < 0) {
                if (waiting == n_prompts || batch.tokens() >= kPrefillTokens) {
                    continue;
                }
                slot.prompt = waiting++;
                slot.length = 0;
                batch.add_sequence(prompts[static_cast<size_t>(slot.prompt)]);
                slot.length = static_cast<int64_t>(prompts[static_cast<size_t>(slot.prompt)].size());
            } else {
                batch.add_sequence({slot.next}, slot.length);
                slot.length++;
            }
            batch.rows.push_back(static_cast<int32_t>(batch.tokens() - 1));
            slot_of.push_back(static_cast<int32_t>(s));
            length_of.push_back(static_cast<int32_t>(slot.length));
        }
        const std::vector<int32_t> next = model.next_tokens(batch, slot_of, length_of);
        for (size_t i = 0; i < next.size(); i++) {
            Slot& slot = slots[static_cast<size_t>(slot_of[i])];
            Generation& g = out[static_cast<size_t>(slot.prompt)];
            slot.next = next[i];
            g.steps++;
            const bool eos = next[i] == config.eos;
            if (!eos) {
                g.ids.push_back(next[i]);
            }
            g.finished = eos || (config.stop && config.stop(g.ids));
            if (g.finished || g.steps == config.max_new_tokens) {
                slot.prompt = -1;
                finished++;
                if (config.progress) {
                    config.progress(finished);
                }
            }
        }
    }
    return out;
}

} // namespace skintern
