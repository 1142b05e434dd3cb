"""A real Kamailio with its mediaproxy module, in the proxy's namespace."""

import os
import shutil

from .process import Process
from .wait import wait_for

SIP_PORT = 5060

_CONFIG = r"""#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
disable_tcp=yes
auto_aliases=no
listen=udp:{ip}:{port}

loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "jsonrpcs.so"
loadmodule "dialog.so"
loadmodule "mediaproxy.so"

modparam("rr", "append_fromtag", 1)
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", "{mi_socket}")
modparam("dialog", "dlg_flag", 4)
modparam("dialog", "default_timeout", 600)
modparam("mediaproxy", "disable", 0)
modparam("mediaproxy", "mediaproxy_socket", "{socket}")
modparam("mediaproxy", "mediaproxy_timeout", {timeout_ms})
{modparams}
request_route {{
	force_rport();
	if (!mf_process_maxfwd_header("10")) {{
		sl_send_reply("483", "Too Many Hops");
		exit;
	}}
	if (is_method("CANCEL")) {{
		if (t_check_trans()) {{
			{cancel}
			t_relay();
		}}
		exit;
	}}
	if (has_totag()) {{
		if (loose_route()) {{
			{in_dialog}
			t_relay();
			exit;
		}}
		if (is_method("ACK")) {{
			if (t_check_trans())
				t_relay();
			exit;
		}}
		sl_send_reply("404", "Not here");
		exit;
	}}
	t_check_trans();
	if (!is_method("INVITE")) {{
		sl_send_reply("405", "Method Not Allowed");
		exit;
	}}
	record_route();
	{invite}
	t_on_reply("ANSWER");
	t_on_failure("FAILED");
	$du = "sip:{callee}:{port}";
	t_relay();
}}

onreply_route[ANSWER] {{
	{reply}
	return;
}}

failure_route[FAILED] {{
	{failed}
	return;
}}
"""

# The module follows the dialog by itself. It hooks into the dialog when that is made, so it
# has to be engaged before dlg_manage().
ENGAGE = {
    "invite": "engage_media_proxy(); dlg_manage();",
    "in_dialog": "",
    "reply": "",
    "cancel": "",
    "failed": "",
}

# The script says when.
USE = {
    "invite": "use_media_proxy();",
    "in_dialog": 'if (is_method("BYE")) { end_media_session(); }\n'
                 '\t\t\telse { use_media_proxy(); if (is_method("INVITE")) t_on_reply("ANSWER"); }',
    "reply": "if (status =~ \"(18[0-9])|(2[0-9][0-9])\") { use_media_proxy(); }",
    "cancel": "end_media_session();",
    "failed": "end_media_session();",
}


class Kamailio(Process):
    def __init__(self, folder, namespace, socket_path, callee_ip, mode=ENGAGE, timeout_ms=500,
                 modparams=""):
        """mode: ENGAGE or USE. socket_path: the dispatcher's."""
        self.folder = os.path.join(str(folder), "kamailio")
        os.makedirs(self.folder)
        self.ip = namespace.ip
        self.mi_socket = os.path.join(os.path.dirname(socket_path), "mi.sock")
        config = os.path.join(self.folder, "kamailio.cfg")
        with open(config, "w") as file:
            file.write(_CONFIG.format(ip=namespace.ip, port=SIP_PORT, callee=callee_ip,
                                      socket=socket_path, mi_socket=self.mi_socket,
                                      timeout_ms=timeout_ms, modparams=modparams, **mode))
        argv = [shutil.which("kamailio") or "kamailio", "-DD", "-E", "-f", config, "-m", "32",
                "-M", "4", "-Y", self.folder]
        super().__init__("kamailio", argv, os.path.join(self.folder, "kamailio.log"), namespace)

    def start(self):
        super().start()
        # The workers open their sockets to the dispatcher before they listen, and the MI
        # socket comes last of all.
        wait_for(self._ready, 15.0, lambda: "Kamailio ready\n" + self.log()[-3000:])
        return self

    def _ready(self):
        if not self.running():
            self.fail("did not start")
        return os.path.exists(self.mi_socket)
