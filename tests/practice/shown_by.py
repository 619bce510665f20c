"""Which probe shows the mistake of a mutant, by the check that is meant to catch it."""

from practice.mutants import Mutant

BY_CHECK = {
    "scaffolding.answers": "visits",
    "scaffolding.count": "visits",
    "scaffolding.at_once": "visits_at_once",
    "scaffolding.restart": "visits_last",
    "scaffolding.kill": "visits_last",
    "scaffolding.stop": "nothing_left_running",
    "messages.stored": "identity",
    "messages.emoji": "text_exact",
    "messages.quotes": "text_exact",
    "messages.whitespace": "text_exact",
    "messages.long": "text_exact",
    "messages.limit": "limits",
    "messages.order": "limits",
    "messages.bad_limit": "bad_input",
    "messages.not_json": "bad_input",
    "messages.no_text": "bad_input",
    "messages.half_character": "bad_input",
    "messages.at_once": "many_writers",
    "messages.ids": "many_writers",
    "messages.restart": "restart_keeps",
    "messages.new_ids": "restart_keeps",
    "messages.kill": "kill_while_writing",
    "time.same_moment": "one_millisecond",
    "time.restart": "identity",
    "time.migrated": "migration",
    "time.old_order": "migration",
    "time.migrated_twice": "migration",
    "time.migration_killed": "migration_killed",
    "time.invented": "migration_honest",
    "replies.unknown_parent": "unknown_parent",
    "replies.unknown_message": "unknown_parent",
    "twilio.unsigned": "sms_forged",
    "twilio.other_text": "sms_forged",
    "twilio.empty": "sms_sent_twice",
    "twilio.once": "sms_sent_twice",
    "twilio.answer": "sms_sent_twice",
    "slack.unsigned": "slack_forged",
    "slack.old": "slack_forged",
    "slack.bad_time": "slack_forged",
    "slack.other_command": "slack_forged",
}
BY_STAGE = {3: "since", 4: "replies", 5: "sms_signed", 6: "slack_commands", 7: "reads_under_writes", 8: "storm"}
BY_NAME = {"same_text_stored_once": "same_text"}


def probe_of(mutant: Mutant) -> str:
    """The name of the probe that fails for this mutant."""
    return BY_NAME.get(mutant.name) or BY_CHECK.get(mutant.check) or BY_STAGE[mutant.stage]
