"""rtpengine as a candidate: not yet"""


class Rtpengine:
    title = 'rtpengine'

    @staticmethod
    def is_installed():
        return False
