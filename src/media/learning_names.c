/** @file media/learning_names.c  Verdicts and rules, for people */
#include "media/learning.h"

const char *learning_verdict_name(enum learning_verdict verdict)
{
	switch (verdict) {
	case LEARNING_HEAR:
		return "hear";
	case LEARNING_PASS:
		return "pass";
	case LEARNING_CONFIRM:
		return "confirm";
	case LEARNING_HOLD:
		return "hold";
	case LEARNING_DROP:
		return "drop";
	}
	return "unknown";
}

const char *learning_rule_name(enum learning_rule rule)
{
	switch (rule) {
	case RULE_NONE:
		return "none";
	case RULE_SDP:
		return "sdp";
	case RULE_KNOWN_IP:
		return "known_ip";
	case RULE_PROVED:
		return "proved";
	case RULE_REBIND:
		return "rebind";
	case RULE_FIRST_PACKET:
		return "first_packet";
	case RULE_ICE:
		return "ice";
	}
	return "unknown";
}
