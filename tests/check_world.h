// check_world.h — answers questions about the invented world by reading, as a person would.
//
// It shares no code with the families: it knows the sentences of the facts and the text of the question, and
// takes both apart with regular expressions. So an error in a family's computation, in a fact that it names
// as needed, or in the wording of a question shows as a difference.
#pragma once

#include <map>
#include <string>
#include <vector>

// The sentences "The <about> is <value> <unit>.", by what they are about.
class WorldReader {
public:
    explicit WorldReader(const std::vector<std::string>& sentences);

    struct Answer {
        std::string text;
        std::vector<std::string> sentences; // those that were looked up, in order of use, none twice
    };

    // Throws std::runtime_error for a question that it cannot read, or a fact that no sentence tells.
    Answer answer(const std::string& family, const std::string& question) const;

private:
    struct Told {
        std::string value;
        std::string sentence;
    };
    std::string look_up(const std::string& about, Answer& answer) const;
    int64_t number(const std::string& about, Answer& answer) const;
    void facts(const std::string& question, Answer& answer) const;
    void prices(const std::string& question, Answer& answer) const;
    void distances(const std::string& question, Answer& answer) const;
    void kinship(const std::string& question, Answer& answer) const;
    void calendar(const std::string& question, Answer& answer) const;
    void units(const std::string& question, Answer& answer) const;
    std::map<std::string, Told> told_;
};
